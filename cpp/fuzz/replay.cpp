// A stand-in for libFuzzer where the compiler has none: replays the corpus, then mutates it at random, without looking
// at the branches that are taken. Usage as libFuzzer's: FUZZER [-max_total_time=SECONDS] [-max_len=BYTES] [-seed=N]
// [-artifact_prefix=PATH] CORPUS..., a corpus being a file or a folder.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;
using Input = std::vector<std::uint8_t>;

Input content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Options {
  long seconds = 0;
  std::size_t longest = 4096;
  unsigned seed = 0;
  std::string artifact = "./";
  std::vector<Input> corpus;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto value = [&](const std::string& name) -> const char* {
      return argument.rfind(name, 0) == 0 ? argv[i] + name.size() : nullptr;
    };
    if (const char* seconds = value("-max_total_time=")) {
      options.seconds = std::atol(seconds);
    } else if (const char* longest = value("-max_len=")) {
      options.longest = static_cast<std::size_t>(std::atol(longest));
    } else if (const char* seed = value("-seed=")) {
      options.seed = static_cast<unsigned>(std::atol(seed));
    } else if (const char* prefix = value("-artifact_prefix=")) {
      options.artifact = prefix;
    } else if (argument[0] == '-') {
      continue;  // another of libFuzzer's
    } else if (fs::is_directory(argument)) {
      for (const auto& entry : fs::directory_iterator(argument))
        if (entry.is_regular_file()) options.corpus.push_back(content(entry.path()));
    } else {
      options.corpus.push_back(content(argument));
    }
  }
  std::sort(options.corpus.begin(), options.corpus.end());  // folders have no order of their own
  return options;
}

class Mutator {
 public:
  Mutator(const Options& options) : options_(options), engine_(options.seed) {}

  Input next() {
    Input input;
    if (!options_.corpus.empty()) input = pick();
    for (std::size_t n = 1 + below(5); n > 0; --n) change(input);
    if (input.size() > options_.longest) input.resize(options_.longest);
    return input;
  }

 private:
  std::size_t below(std::size_t end) { return engine_() % end; }
  const Input& pick() { return options_.corpus[below(options_.corpus.size())]; }

  void change(Input& input) {
    const std::size_t at = below(input.size() + 1);
    const auto place = input.begin() + static_cast<std::ptrdiff_t>(at);
    switch (below(6)) {
      case 0:  // a bit
        if (at < input.size()) input[at] ^= static_cast<std::uint8_t>(1u << below(8));
        break;
      case 1: {  // a number, little-endian, of the kind that sizes overflow at
        static constexpr std::uint64_t numbers[] = {0,          1,          2,          63,
                                                    64,         65,         255,        0x7FFFFFFF,
                                                    0xFFFFFFFF, 1ull << 32, 1ull << 40, 0x7FFFFFFFFFFFFFFF,
                                                    1ull << 63, ~0ull,      ~0ull - 63};
        const std::uint64_t number = numbers[below(std::size(numbers))];
        const std::size_t width = std::size_t{1} << below(4);
        for (std::size_t i = 0; i < width && at + i < input.size(); ++i)
          input[at + i] = static_cast<std::uint8_t>(number >> (8 * i));
        break;
      }
      case 2:
        input.erase(place, place + static_cast<std::ptrdiff_t>(below(input.size() - at + 1)));
        break;
      case 3:
        for (std::size_t n = below(80); n > 0; --n)
          input.insert(input.begin() + static_cast<std::ptrdiff_t>(at), random_byte());
        break;
      case 4:  // a part of another input
        if (!options_.corpus.empty()) {
          const Input& other = pick();
          const std::size_t from = below(other.size() + 1), n = below(other.size() - from + 1);
          input.insert(place, other.begin() + static_cast<std::ptrdiff_t>(from),
                       other.begin() + static_cast<std::ptrdiff_t>(from + n));
        }
        break;
      default:
        if (at < input.size()) input[at] = random_byte();
    }
  }
  std::uint8_t random_byte() { return static_cast<std::uint8_t>(engine_()); }

  const Options& options_;
  std::mt19937_64 engine_;
};

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  for (const Input& input : options.corpus) LLVMFuzzerTestOneInput(input.data(), input.size());
  Mutator mutator(options);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(options.seconds);
  std::size_t runs = options.corpus.size();
  const std::string last = options.artifact + "last-input";
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    const Input input = mutator.next();
    // Written before it is tried: what kills the process is then on disk.
    std::ofstream(last, std::ios::binary)
        .write(reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size()));
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  fs::remove(last);
  std::printf("Done %zu runs\n", runs);
}
