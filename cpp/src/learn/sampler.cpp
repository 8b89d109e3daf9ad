#include "sampler.hpp"

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>

#include "random.hpp"

namespace simskip::learn {
namespace {

// Positions 0 .. n-1 in random order, reshuffled after every pass.
class Shuffled {
 public:
  Shuffled(std::int64_t n) : order_(static_cast<std::size_t>(n)) { std::iota(order_.begin(), order_.end(), 0); }

  std::int32_t next(std::mt19937_64& engine) {
    if (at_ == 0) shuffle(engine);
    const std::int32_t value = order_[at_];
    at_ = (at_ + 1) % order_.size();
    return value;
  }

  // Begins a new pass if fewer than `count` positions are left in this one.
  void require(std::size_t count) {
    if (order_.size() - at_ < count) at_ = 0;
  }

  std::size_t size() const { return order_.size(); }

 private:
  void shuffle(std::mt19937_64& engine) {
    for (std::size_t i = order_.size(); i > 1; --i)
      std::swap(order_[i - 1], order_[static_cast<std::size_t>(uniform_index(engine, static_cast<std::int64_t>(i)))]);
  }

  std::vector<std::int32_t> order_;
  std::size_t at_ = 0;
};

class PassSampler : public Sampler {
 public:
  PassSampler(const Settings& settings, const TrainingSet& data)
      : engine_(settings.seed),
        rows_(data.rows),
        order_(data.n_rows),
        batch_(std::min(settings.batch_size, data.n_rows)) {}

  void next(std::vector<std::int32_t>& rows) override {
    rows.clear();
    order_.require(static_cast<std::size_t>(batch_));
    for (std::int64_t i = 0; i < batch_; ++i) rows.push_back(rows_[order_.next(engine_)]);
  }

  std::int64_t batch_size() const override { return batch_; }

 private:
  std::mt19937_64 engine_;
  const std::int32_t* rows_;
  Shuffled order_;
  std::int64_t batch_;
};

class NeighborSampler : public Sampler {
 public:
  NeighborSampler(const Settings& settings, const TrainingSet& data)
      : engine_(settings.seed),
        data_(data),
        order_(data.n_anchors),
        anchors_(settings.anchors),
        per_anchor_(std::min(settings.neighbors_per_anchor, data.m)),
        batch_(std::min(settings.batch_size, data.n_rows)),
        taken_(static_cast<std::size_t>(data.towers.front().n), 0) {
    picks_.resize(static_cast<std::size_t>(data.m));
  }

  void next(std::vector<std::int32_t>& rows) override {
    rows.clear();
    ++round_;
    const auto full = static_cast<std::size_t>(batch_);
    for (std::int64_t a = 0; a < anchors_ && rows.size() < full; ++a) {
      const std::int32_t position = order_.next(engine_);
      take(data_.anchors[position], rows);
      std::iota(picks_.begin(), picks_.end(), 0);
      for (std::int64_t k = 0; k < per_anchor_ && rows.size() < full; ++k) {
        std::swap(picks_[static_cast<std::size_t>(k)],
                  picks_[static_cast<std::size_t>(k + uniform_index(engine_, data_.m - k))]);
        take(data_.neighbors[position * data_.m + picks_[static_cast<std::size_t>(k)]], rows);
      }
    }
    // Few tries are wasted while the batch is a small part of the rows; when it is all of them, every row is due.
    if (full == static_cast<std::size_t>(data_.n_rows)) {
      for (std::int64_t i = 0; i < data_.n_rows; ++i) take(data_.rows[i], rows);
    } else {
      while (rows.size() < full) take(data_.rows[uniform_index(engine_, data_.n_rows)], rows);
    }
  }

  std::int64_t batch_size() const override { return batch_; }

 private:
  void take(std::int32_t row, std::vector<std::int32_t>& rows) {
    std::uint32_t& mark = taken_[static_cast<std::size_t>(row)];
    if (mark == round_) return;
    mark = round_;
    rows.push_back(row);
  }

  std::mt19937_64 engine_;
  TrainingSet data_;
  Shuffled order_;
  std::int64_t anchors_, per_anchor_, batch_;
  std::vector<std::uint32_t> taken_;  // the round in which a row was taken last
  std::vector<std::int32_t> picks_;
  std::uint32_t round_ = 0;
};

class ClassSampler : public Sampler {
 public:
  ClassSampler(const Settings& settings, const TrainingSet& data)
      : engine_(settings.seed),
        members_(static_cast<std::size_t>(data.n_classes)),
        per_class_(settings.rows_per_class),
        batch_(std::min(settings.batch_size, data.n_rows)),
        data_(data) {
    for (std::int64_t i = 0; i < data.n_rows; ++i)
      members_[static_cast<std::size_t>(data.labels[data.rows[i]])].push_back(data.rows[i]);
    std::erase_if(members_, [](const auto& rows) { return rows.empty(); });
    const auto n_classes = static_cast<std::int64_t>(members_.size());
    per_class_ = std::max(per_class_, (batch_ + n_classes - 1) / n_classes);
    for (const auto& rows : members_) orders_.emplace_back(static_cast<std::int64_t>(rows.size()));
    classes_ = std::make_unique<Shuffled>(n_classes);
  }

  void next(std::vector<std::int32_t>& rows) override {
    rows.clear();
    // A class smaller than its share gives all it has; the classes after it fill the batch.
    for (std::size_t visited = 0; visited < members_.size() && rows.size() < static_cast<std::size_t>(batch_);
         ++visited) {
      const auto c = static_cast<std::size_t>(classes_->next(engine_));
      const auto count = std::min(
          {static_cast<std::size_t>(per_class_), members_[c].size(), static_cast<std::size_t>(batch_) - rows.size()});
      orders_[c].require(count);
      for (std::size_t i = 0; i < count; ++i)
        rows.push_back(members_[c][static_cast<std::size_t>(orders_[c].next(engine_))]);
    }
    classes_->require(members_.size());
    // Still short: any rows that are not in the batch yet.
    while (rows.size() < static_cast<std::size_t>(batch_)) {
      const std::int32_t row = data_.rows[uniform_index(engine_, data_.n_rows)];
      if (std::find(rows.begin(), rows.end(), row) == rows.end()) rows.push_back(row);
    }
  }

  std::int64_t batch_size() const override { return batch_; }

 private:
  std::mt19937_64 engine_;
  std::vector<std::vector<std::int32_t>> members_;  // rows of each class that occurs
  std::vector<Shuffled> orders_;
  std::unique_ptr<Shuffled> classes_;
  std::int64_t per_class_, batch_;
  TrainingSet data_;
};

}  // namespace

std::unique_ptr<Sampler> make_sampler(Batches batches, const Settings& settings, const TrainingSet& data) {
  if (batches == Batches::neighbors) return std::make_unique<NeighborSampler>(settings, data);
  if (batches == Batches::classes && data.labels) return std::make_unique<ClassSampler>(settings, data);
  return std::make_unique<PassSampler>(settings, data);
}

}  // namespace simskip::learn
