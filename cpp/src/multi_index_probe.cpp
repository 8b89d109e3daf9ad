#include "multi_index_probe.hpp"

#include <algorithm>
#include <new>

#include "kernels/kernels.hpp"
#include "kernels/runs.hpp"
#include "parallel.hpp"

namespace simskip {

Patterns::Patterns(int bits) {
  constexpr std::size_t max_kept = std::size_t{1} << 18;
  const std::uint64_t end = std::uint64_t{1} << bits;
  std::size_t kept = 0;
  for (int weight = 0; weight <= bits; ++weight) {
    std::vector<std::uint32_t> list;
    if (weight == 0) list.push_back(0);
    for (std::uint64_t p = (std::uint64_t{1} << weight) - 1; weight > 0 && p < end; p = next(p)) {
      if (kept + list.size() >= max_kept) return;
      list.push_back(static_cast<std::uint32_t>(p));
    }
    kept += list.size();
    lists_.push_back(std::move(list));
  }
}

std::size_t Patterns::nbytes() const {
  std::size_t n = 0;
  for (const auto& list : lists_) n += list.size() * sizeof(std::uint32_t);
  return n;
}

namespace {

// Queries in work at once, and buckets of each. Their cache lines fit into the first level together.
constexpr std::size_t n_slots = 8;
constexpr std::size_t max_step = 64;
// Lines of a bucket that are asked for ahead; the kernel asks for what follows.
constexpr std::uint32_t ahead_codes = 32;

using State = MultiIndex::State;

// One query in work. A step is: ask for the offsets of some buckets; read them, ask for the buckets; read those.
class Slot {
 public:
  Slot(const State& index, const CodeBlocks& codes, const ProbeTask& task)
      : index_(index),
        codes_(codes),
        task_(task),
        kernel_(kernels::in_use().scan_runs),
        found_(index.n_bits, task.k, task.farthest, task.allowed),
        own_(index.substrings.size()),
        reached_(index.substrings.size()) {
    // Large buckets: fewer at a time.
    const std::size_t per_bucket = index.n >> index.substrings[0].bits();
    step_ = std::clamp<std::size_t>(1024 / (8 + per_bucket), 8, max_step);
  }

  void start(std::size_t query, const std::uint64_t* words) {
    query_ = query;
    words_ = words;
    for (std::size_t t = 0; t < own_.size(); ++t)
      own_[t] = index_.substrings[t].key(words[index_.substrings[t].word()]);
    std::fill(reached_.begin(), reached_.end(), -1);
    found_.restart();
    unit_ = units_done_ = taken_ = 0;
    codes_looked_at_ = buckets_ = 0;
    busy_ = true;
    gave_up_ = false;
    judge();
  }

  bool busy() const { return busy_; }
  bool gave_up() const { return gave_up_; }
  std::size_t query() const { return query_; }
  std::size_t codes_looked_at() const { return codes_looked_at_; }
  std::size_t buckets() const { return buckets_; }
  FoundRows& found() { return found_; }

  void ask_for_offsets() {
    n_keys_ = n_parts_ = 0;
    do {
      const Unit& unit = index_.schedule[unit_];
      const std::uint32_t* offsets = index_.tables[unit.table].offsets.data();
      const std::size_t n = std::min(step_ - n_keys_, unit.buckets - taken_);
      const std::uint32_t own = own_[unit.table];
      if (const std::uint32_t* patterns = index_.patterns.of_weight(unit.weight)) {
        for (std::size_t i = 0; i < n; ++i) {
          const std::uint32_t key = own ^ patterns[taken_ + i];
          __builtin_prefetch(offsets + key);
          keys_[n_keys_ + i] = key;
        }
      } else {
        if (taken_ == 0) pattern_ = (std::uint64_t{1} << unit.weight) - 1;
        for (std::size_t i = 0; i < n; ++i) {
          const std::uint32_t key = own ^ static_cast<std::uint32_t>(pattern_);
          __builtin_prefetch(offsets + key);
          keys_[n_keys_ + i] = key;
          pattern_ = Patterns::next(pattern_);
        }
      }
      n_keys_ += n;
      taken_ += n;
      const bool last = taken_ == unit.buckets;
      parts_[n_parts_++] = {unit.table, unit.weight, n_keys_, 0, last};
      if (!last) return;
      ++unit_;
      taken_ = 0;
      // The first bucket of each table is looked at in any case; other units may turn out to be needless.
    } while (unit_ < index_.schedule.size() && index_.schedule[unit_].weight == 0 && n_keys_ < step_);
  }

  void ask_for_buckets() {
    std::size_t key = 0;
    std::uint32_t n_runs = 0;
    const bool one_word = index_.words == 1;
    for (std::size_t p = 0; p < n_parts_; ++p) {
      const BucketTable& table = index_.tables[parts_[p].table];
      for (; key < parts_[p].keys_end; ++key) {
        const std::uint32_t begin = table.offsets[keys_[key]], end = table.offsets[keys_[key] + 1];
        runs_[n_runs] = {begin, end};
        n_runs += end > begin;
        codes_looked_at_ += end - begin;
        if (one_word) {
          __builtin_prefetch(table.codes.data() + begin);
          for (std::uint32_t c = 8; c < std::min(end - begin + 7, ahead_codes); c += 8)
            __builtin_prefetch(table.codes.data() + begin + c);
        } else {
          __builtin_prefetch(table.rows.data() + begin);
        }
      }
      parts_[p].runs_end = n_runs;
    }
    buckets_ += n_keys_;
  }

  void read_buckets() {
    std::uint32_t first_run = 0;
    for (std::size_t p = 0; p < n_parts_ && busy_; ++p) {
      const Part& part = parts_[p];
      const BucketTable& table = index_.tables[part.table];
      if (part.runs_end > first_run) {
        const kernels::Runs runs{runs_ + first_run,
                                 part.runs_end - first_run,
                                 part.table,
                                 index_.groups.data(),
                                 reached_.data(),
                                 static_cast<std::uint32_t>(index_.groups.size()),
                                 words_,
                                 table.codes.data(),
                                 table.rows.data(),
                                 codes_.data(),
                                 static_cast<std::uint32_t>(index_.words)};
        found_.expect(index_.words == 1 ? table.rows.data() : nullptr);
        kernel_(runs, found_);
        found_.absorb();
        if (found_.failed()) throw std::bad_alloc();
      }
      first_run = part.runs_end;
      if (!part.last) continue;
      reached_[part.table] = part.weight;
      ++units_done_;
      // units_done_ - 1 is the covered radius.
      if (units_done_ > found_.farthest() || units_done_ == index_.schedule.size()) busy_ = false;
    }
    if (busy_ && taken_ == 0) judge();
  }

 private:
  struct Part {
    std::uint32_t table;
    int weight;
    std::size_t keys_end;
    std::uint32_t runs_end;
    bool last;  // of its unit
  };

  // Gives up if a scan is cheaper than what lies ahead. Until k rows have been found nobody knows what does; uniform
  // codes tell what to fear, and a trial whether this query is better off.
  void judge() {
    const Schedule& schedule = index_.schedule;
    const double spent = probe_cost(static_cast<double>(buckets_), static_cast<double>(codes_looked_at_), index_.words);
    const double next = schedule[units_done_].cost;
    if (spent + next <= task_.free_trial) return;
    const int needed = std::min(static_cast<int>(found_.farthest()), task_.expected_farthest);
    const std::size_t units = std::min<std::size_t>(static_cast<std::size_t>(needed) + 1, schedule.size());
    const double planned = schedule.cost_before(units_done_);
    const double ahead = units > units_done_ ? schedule.cost_before(units) - planned : next;
    // Skewed tables have fuller buckets than the plan knows.
    const double fuller = planned > 0 ? std::max(1.0, spent / planned) : 1.0;
    if (ahead * fuller <= task_.scan_cost) return;
    busy_ = false;
    gave_up_ = true;
  }

  const State& index_;
  const CodeBlocks& codes_;
  const ProbeTask& task_;
  void (*kernel_)(const kernels::Runs&, kernels::Hits&);
  FoundRows found_;
  std::vector<std::uint32_t> own_;     // the query's bucket in each table
  std::vector<std::int32_t> reached_;  // the radius up to which a table was looked at
  std::size_t step_ = max_step;
  std::size_t query_ = 0;
  const std::uint64_t* words_ = nullptr;
  std::size_t unit_ = 0, taken_ = 0;  // the unit in work and how many of its buckets were asked for
  std::uint64_t pattern_ = 0;
  std::size_t units_done_ = 0;
  std::size_t codes_looked_at_ = 0, buckets_ = 0;
  bool busy_ = false, gave_up_ = false;
  std::size_t n_keys_ = 0, n_parts_ = 0;
  std::uint32_t keys_[max_step];
  kernels::Run runs_[max_step];
  Part parts_[max_step];
};

}  // namespace

void probe(const MultiIndex::State& index, const CodeBlocks& codes, const std::uint64_t* queries, std::size_t first,
           std::size_t last, const ProbeTask& task,
           const std::function<void(std::size_t, const std::vector<std::uint64_t>&)>& done,
           std::vector<std::size_t>& left, SearchStats& stats) {
  std::vector<Slot> slots;
  slots.reserve(std::min(n_slots, last - first));
  for (std::size_t s = 0; s < std::min(n_slots, last - first); ++s) slots.emplace_back(index, codes, task);
  std::vector<std::uint64_t> hits;
  std::uint64_t n_codes = 0, n_buckets = 0, answered = 0;
  std::size_t next = first;

  const auto leave = [&](Slot& slot) {
    n_codes += slot.codes_looked_at();
    n_buckets += slot.buckets();
    if (slot.gave_up()) {
      left.push_back(slot.query());
    } else {
      slot.found().sorted(hits);
      done(slot.query(), hits);
      ++answered;
    }
  };
  // A query that is given up at once makes room for the one after it.
  const auto refill = [&](Slot& slot) {
    for (; next < last && !slot.busy(); ++next) {
      slot.start(next, queries + next * index.words);
      if (!slot.busy()) leave(slot);
    }
  };
  for (Slot& slot : slots) refill(slot);
  const bool asks = task.interrupt && on_calling_thread();
  for (std::size_t busy = 1; busy > 0;) {
    if (asks ? task.interrupt->check() : task.interrupt && task.interrupt->requested()) break;
    for (Slot& slot : slots)
      if (slot.busy()) slot.ask_for_offsets();
    for (Slot& slot : slots)
      if (slot.busy()) slot.ask_for_buckets();
    busy = 0;
    for (Slot& slot : slots) {
      if (!slot.busy()) continue;
      slot.read_buckets();
      if (!slot.busy()) {
        leave(slot);
        refill(slot);
      }
      busy += slot.busy();
    }
  }
  stats.codes.fetch_add(n_codes, std::memory_order_relaxed);
  stats.buckets.fetch_add(n_buckets, std::memory_order_relaxed);
  stats.by_index.fetch_add(answered, std::memory_order_relaxed);
}

}  // namespace simskip
