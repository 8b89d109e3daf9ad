#include "multi_index_search.hpp"

#include <bit>
#include <limits>

#include "parallel.hpp"
#include "simskip/codes.hpp"

namespace simskip {
namespace {

// From here on a scan shares passes over the codes (see top_k.cpp).
constexpr std::size_t many_queries = 16;
// Steps between two looks at the interrupt: less than a millisecond.
constexpr std::uint32_t steps_per_look = 64;

double binomial(int n, int s) {
  double value = 1;
  for (int i = 0; i < s; ++i) value = value * (n - i) / (i + 1);
  return value;
}

}  // namespace

MultiIndexSearch::MultiIndexSearch(const MultiIndex& index, const CodeBlocks& codes, const SearchOptions& options,
                                   std::size_t n_queries, bool always)
    : index_(index),
      codes_(codes),
      options_(options),
      m_(index.substrings()),
      row_cost_(codes.words() == 1 ? row_ns : gathered_row_ns),
      query_(codes.words()),
      query_values_(m_),
      difference_(codes.words()),
      histogram_(static_cast<std::size_t>(codes.n_bits()) + 1),
      places_(kernel_rows + 8),
      distances_(kernel_rows + 8) {
  for (const auto& table : index.tables_) substrings_.emplace_back(table.first_bit, table.n_bits);
  const auto words = static_cast<double>(codes.size() * codes.words());
  budget_ = always ? static_cast<double>(codes.size()) * (value_ns + row_cost_) * static_cast<double>(m_)
                   : words * (n_queries < many_queries ? lone_scan_ns_per_word : scan_ns_per_word);
}

double MultiIndexSearch::round_cost(int s, std::size_t j) const {
  const int length = index_.tables_[j].n_bits;
  if (s > length) return 0;
  const double rows_per_value = static_cast<double>(codes_.size()) / static_cast<double>(std::size_t{1} << length);
  return binomial(length, s) * (value_ns + rows_per_value * row_cost_);
}

double MultiIndexSearch::cost_to_cover(int s, std::size_t j, std::uint32_t distance) const {
  double cost = 0;
  while (m_ * static_cast<std::size_t>(s) + j < distance && spent_ + cost <= budget_) {
    if (++j == m_) {
      j = 0;
      ++s;
    }
    cost += round_cost(s, j);
  }
  return cost;
}

bool MultiIndexSearch::stop_asked() {
  if (!options_.interrupt) return false;
  if (on_calling_thread() && looks_++ % steps_per_look == 0) options_.interrupt->check();
  return options_.interrupt->requested();
}

bool MultiIndexSearch::next(Step& step) {
  // Longer substrings stand first, so the first one without a value of this weight ends the last round.
  const int length = index_.tables_[upcoming_.j].n_bits;
  const auto& masks = index_.masks(length);
  if (upcoming_.s >= static_cast<int>(masks.size())) return false;
  const auto total = static_cast<std::uint32_t>(masks[upcoming_.s].size());
  step = upcoming_;
  step.n = std::min(step_values, total - step.begin);
  step.ends_round = step.begin + step.n == total;
  upcoming_.begin = step.ends_round ? 0 : upcoming_.begin + step.n;
  if (step.ends_round && ++upcoming_.j == m_) {
    upcoming_.j = 0;
    ++upcoming_.s;
  }
  return true;
}

void MultiIndexSearch::ask_for(const Step& step) {
  const auto& table = index_.tables_[step.j];
  const std::uint32_t* masks = index_.masks(table.n_bits)[step.s].data() + step.begin;
  const std::uint32_t value = query_values_[step.j];
  for (std::uint32_t i = 0; i < step.n; ++i) __builtin_prefetch(table.starts.get() + (value ^ masks[i]));
}

void MultiIndexSearch::locate(const Step& step, Runs& runs) {
  const auto& table = index_.tables_[step.j];
  const std::uint32_t* masks = index_.masks(table.n_bits)[step.s].data() + step.begin;
  const std::uint32_t *starts = table.starts.get(), value = query_values_[step.j];
  const std::uint64_t* codes = table.codes.get();
  runs.n = 0;
  for (std::uint32_t i = 0; i < step.n; ++i) {
    const std::uint32_t v = value ^ masks[i], begin = starts[v], end = starts[v + 1];
    if (begin == end) continue;
    // Values that follow each other, up or down, have their rows in one piece.
    if (runs.n && begin == runs.end[runs.n - 1]) {
      runs.end[runs.n - 1] = end;
    } else if (runs.n && end == runs.begin[runs.n - 1]) {
      runs.begin[runs.n - 1] = begin;
    } else {
      runs.begin[runs.n] = begin;
      runs.end[runs.n++] = end;
    }
    if (codes) {
      __builtin_prefetch(codes + begin);
      __builtin_prefetch(codes + end - 1);
    } else {
      __builtin_prefetch(table.rows.get() + begin);
    }
  }
  values_ += step.n;
  spent_ += step.n * value_ns;
}

bool MultiIndexSearch::seen_before(const Step& step, const std::uint64_t* difference) const {
  for (std::size_t j = 0; j < m_; ++j) {
    if (j == step.j) continue;
    const int s = std::popcount(substrings_[j](difference, 1));
    if (s < step.s || (s == step.s && j < step.j)) return true;
  }
  return false;
}

void MultiIndexSearch::keep(std::uint64_t row, std::uint32_t distance) {
  const std::uint64_t hit = std::uint64_t{distance} << 32 | row;
  if (distance > threshold_ || hit >= last_) return;
  if (options_.allowed && !(options_.allowed[row / 64] >> (row % 64) & 1)) return;
  found_.push_back(hit);
  ++histogram_[distance];
  ++within_;
  while (within_ - histogram_[threshold_] >= k_) {
    within_ -= histogram_[threshold_];
    histogram_[threshold_--] = 0;
  }
  if (k_ <= found_.size() / 2 && found_.size() >= 1024) keep_k();
}

void MultiIndexSearch::keep_k() {
  if (found_.size() <= k_) return;
  const auto kth = found_.begin() + static_cast<std::ptrdiff_t>(k_) - 1;
  std::nth_element(found_.begin(), kth, found_.end());
  last_ = *kth;
  found_.resize(k_);
  histogram_[threshold_] -= static_cast<std::uint32_t>(within_ - k_);
  within_ = k_;
}

void MultiIndexSearch::compare(const Step& step, const kernels::Runs& runs) {
  const auto& table = index_.tables_[step.j];
  const kernels::Kernels& kernels = kernels::in_use();
  const std::size_t words = codes_.words();
  if (table.codes) {
    const std::uint32_t n =
        kernels.near_in_runs(runs, query_[0], threshold_ + 1, places_.data(), distances_.data());
    for (std::uint32_t i = 0; i < n; ++i) {
      const std::uint64_t difference = runs.codes[places_[i]] ^ query_[0];
      if (!seen_before(step, &difference)) keep(table.rows.get()[places_[i]], distances_[i]);
    }
    return;
  }
  for (std::uint32_t r = 0; r < runs.n; ++r) {
    const std::uint32_t* rows = table.rows.get() + runs.begin[r];
    const std::uint32_t n =
        kernels.near_in_rows(codes_.data(), static_cast<std::uint32_t>(codes_.words()), rows,
                             runs.end[r] - runs.begin[r], query_.data(), threshold_ + 1, places_.data(),
                             distances_.data());
    for (std::uint32_t i = 0; i < n; ++i) {
      const std::uint32_t row = rows[places_[i]];
      for (std::size_t w = 0; w < words; ++w)
        difference_[w] = codes_.data()[(row / 8 * words + w) * 8 + row % 8] ^ query_[w];
      if (!seen_before(step, difference_.data())) keep(row, distances_[i]);
    }
  }
}

bool MultiIndexSearch::look_at(const Step& step, const Runs& runs) {
  std::uint64_t rows = 0;
  for (std::uint32_t r = 0; r < runs.n; ++r) rows += runs.end[r] - runs.begin[r];
  spent_ += static_cast<double>(rows) * row_cost_;
  rows_seen_ += rows;
  if (spent_ > budget_) return false;
  const std::uint64_t* codes = index_.tables_[step.j].codes.get();
  if (rows <= kernel_rows) {
    compare(step, {codes, runs.begin.data(), runs.end.data(), runs.n});
    return true;
  }
  for (std::uint32_t r = 0; r < runs.n; ++r)
    for (std::uint32_t begin = runs.begin[r]; begin < runs.end[r]; begin += kernel_rows) {
      const std::uint32_t end = std::min(runs.end[r], begin + kernel_rows);
      compare(step, {codes, &begin, &end, 1});
    }
  return true;
}

bool MultiIndexSearch::run(const std::uint8_t* query, std::size_t k) {
  k_ = k;
  bytes_to_words(query, codes_.n_bits(), query_.data());
  for (std::size_t j = 0; j < m_; ++j) query_values_[j] = substrings_[j](query_.data(), 1);
  found_.clear();
  std::fill(histogram_.begin(), histogram_.end(), 0);
  within_ = 0;
  last_ = std::numeric_limits<std::uint64_t>::max();
  spent_ = 0;
  if (options_.max_distance < 0) return true;
  threshold_ = static_cast<std::uint32_t>(std::min(options_.max_distance, codes_.n_bits()));
  upcoming_ = {};

  // While one step's rows are compared, those of the next are on their way to the cache, and so are the table entries
  // of the one after.
  std::array<Step, 3> steps;
  std::array<Runs, 2> runs;
  std::size_t asked = 0, located = 0, done = 0;
  const auto ask = [&] {
    if (next(steps[asked % 3])) ask_for(steps[asked++ % 3]);
  };
  const auto place = [&] {
    if (located == asked) return;
    locate(steps[located % 3], runs[located % 2]);
    ++located;
  };
  ask();
  ask();
  place();
  while (done < located) {
    if (stop_asked()) return true;  // the caller throws
    ask();
    place();
    const Step step = steps[done % 3];
    if (!look_at(step, runs[done++ % 2])) return false;
    if (!step.ends_round) continue;
    const auto covered = static_cast<std::uint32_t>(m_ * static_cast<std::size_t>(step.s) + step.j);
    if (covered >= threshold_) {
      std::sort(found_.begin(), found_.end());
      if (found_.size() > k_) found_.resize(k_);
      return true;
    }
    // The k-th nearest seen says how far the rounds must go at most; before there is one, only the next is certain.
    if (spent_ + cost_to_cover(step.s, step.j, within_ >= k_ ? threshold_ : covered + 1) > budget_) return false;
  }
  return false;
}

void MultiIndexSearch::write(std::int32_t* distances, std::int64_t* ids) const {
  for (std::size_t i = 0; i < found_.size(); ++i) {
    distances[i] = static_cast<std::int32_t>(found_[i] >> 32);
    ids[i] = static_cast<std::int64_t>(found_[i] & 0xFFFFFFFF);
  }
}

}  // namespace simskip
