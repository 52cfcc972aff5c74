#include "worker/wisdom.hpp"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "dsp/fft.hpp"

namespace sonogate::worker {

namespace {

// The smallest fft_size; from here to dsp::max_measured_samples are the sizes that analyze takes by
// default and fingerprints use, and those between.
constexpr std::size_t smallest_size = 256;

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

// Whole or not at all: another daemon may read the folder's file meanwhile.
bool write_file(const std::string& path, const std::string& content) {
    const std::string draft = path + "." + std::to_string(::getpid());
    {
        std::ofstream file(draft, std::ios::binary | std::ios::trunc);
        file << content;
        if (!file.flush()) {
            (void)std::remove(draft.c_str());
            return false;
        }
    }
    return std::rename(draft.c_str(), path.c_str()) == 0;
}

}  // namespace

void plan_common_transforms(const std::string& state_folder, dsp::FftPlans& plans) {
    const std::string path = state_folder + "/fftw-wisdom";
    const std::string kept = read_file(path);
    const bool known = !kept.empty() && dsp::import_wisdom(kept);
    for (std::size_t n = smallest_size; n <= dsp::max_measured_samples; n *= 2) {
        (void)plans.get(n);
    }
    if (!known && !write_file(path, dsp::export_wisdom())) {
        spdlog::warn("zygote: cannot write {}: transforms are planned again at each start", path);
    }
}

}  // namespace sonogate::worker
