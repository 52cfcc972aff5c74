// What bench/identify.py runs: catalogs of any size, and searches in them without a service.
//
//   bench_identify fingerprint PCM...                     seconds of audio, seconds of CPU
//   bench_identify store PATH TRACKS PCM...               makes a SQLite catalog
//   bench_identify index FOLDER TRACKS CLIPS.tsv PCM...   makes or opens an index, and searches
//   bench_identify lists PCM...                           lengths of posting lists, real and varied
//
// PCM is raw, mono, f32 at 8 kHz. The first tracks are those; the others variations of them
// (varied_tracks.hpp). CLIPS.tsv: label, number of the track from 1 (0: none), path of the PCM.
// Prints "name value" lines, and one "clip label right cpu_us wall_us p postings" line a clip.
#include <malloc.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/posting_lists.hpp"
#include "bench/varied_tracks.hpp"
#include "catalog/index_folder.hpp"
#include "catalog/search.hpp"
#include "catalog/store.hpp"
#include "fingerprint/fingerprinter.hpp"
#include "fingerprint/packing.hpp"

namespace {

using namespace sonogate;
using catalog::Index;
using fingerprint::Density;
using fingerprint::Fingerprint;
using Paths = std::vector<std::string>;
using Picture = std::shared_ptr<const Index>;

constexpr std::uint64_t large_file_hashes = 60'000'000;  // while a catalog is made
constexpr std::uint64_t small_file_hashes = 4'000'000;   // as the service has it
constexpr std::size_t tracks_at_once = 3500;
constexpr catalog::StoreState no_store{.identity = {'b', 'e', 'n', 'c', 'h'}, .version = 1};

double seconds_of(clockid_t clock) {
    timespec t{};
    ::clock_gettime(clock, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}
double cpu_s() {
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}
double wall_s() {
    return seconds_of(CLOCK_MONOTONIC);
}

void tell(const char* name, double value) {
    std::printf("%s %.6g\n", name, value);
    std::fflush(stdout);
}

// "VmHWM" and the like, of /proc/self/status.
double status_mb(const std::string& field) {
    std::ifstream file("/proc/self/status");
    for (std::string name; file >> name; file.ignore(1000, '\n')) {
        if (name == field + ":") {
            double kb = 0;
            file >> kb;
            return kb / 1024;
        }
    }
    return 0;
}

std::vector<float> read_pcm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<float> out(std::filesystem::file_size(path) / sizeof(float));
    file.read(reinterpret_cast<char*>(out.data()),
              static_cast<std::streamsize>(out.size() * sizeof(float)));
    return out;
}

Fingerprint fingerprint_of(const std::string& path, Density density) {
    static dsp::RealFft fft(fingerprint::block_frames);
    fingerprint::Fingerprinter chain(fft, density);
    chain.push(read_pcm(path));
    return chain.finish();
}

// The tracks that a catalog is filled with, by their number from 0.
class Tracks {
  public:
    explicit Tracks(const Paths& pcm) {
        for (const std::string& path : pcm) {
            real_.push_back(fingerprint_of(path, Density::track));
        }
    }
    std::size_t real() const noexcept { return real_.size(); }
    Fingerprint operator[](std::size_t number) const {
        const Fingerprint& of = real_[number % real_.size()];
        return number < real_.size() ? of : bench::vary(of, number);
    }

  private:
    std::vector<Fingerprint> real_;
};

int tell_speed(const Paths& pcm) {
    double audio_s = 0;
    double used_s = 0;
    for (const std::string& path : pcm) {
        const double begin_s = cpu_s();
        audio_s += fingerprint_of(path, Density::track).duration_ms / 1000.0;
        used_s += cpu_s() - begin_s;
    }
    tell("audio_s", audio_s);
    tell("cpu_s", used_s);
    return 0;
}

int fill_store(const std::string& path, std::size_t count, const Paths& pcm) {
    const Tracks tracks(pcm);
    std::string why;
    auto store = catalog::open_store("sqlite:" + path, &why);
    if (!store) {
        throw std::runtime_error(why);
    }
    catalog::Writer& writer = (*store)->writer();
    double audio_s = 0;
    for (std::size_t i = 0; i < count;) {
        bool well = static_cast<bool>(writer.begin());
        for (const std::size_t end = std::min(count, i + tracks_at_once); i < end; ++i) {
            const Fingerprint fingerprint = tracks[i];
            audio_s += fingerprint.duration_ms / 1000.0;
            catalog::Track track;
            track.id = "t" + std::to_string(i + 1);
            track.labels.title = "Track " + std::to_string(i + 1);
            track.duration_ms = fingerprint.duration_ms;
            track.sha256 = std::string(64, '0');
            track.hashes = catalog::count_hashes(fingerprint);
            track.fingerprint = fingerprint::pack(fingerprint);
            well = well && writer.insert(track);
        }
        if (!well || !writer.commit()) {
            throw std::runtime_error("the store says no");
        }
    }
    tell("audio_s", audio_s);
    return 0;
}

void write_files(catalog::IndexFolder& folder, Picture& index, std::uint64_t from_hashes) {
    while (true) {
        const auto written = folder.write_next(index, no_store, from_hashes);
        if (!written) {
            throw std::runtime_error("the index cannot be written");
        }
        if (!*written) {
            return;
        }
        index = (*written)->apply(*index);
        folder.applied(**written);
    }
}

// Adds the tracks that the index lacks, and writes what is enough for a file, as the service does.
Picture fill_index(catalog::IndexFolder& folder, Picture index, std::size_t count,
                   const Paths& pcm) {
    const double begin_s = cpu_s();
    const Tracks tracks(pcm);
    double audio_s = 0;
    for (std::size_t i = index->live_tracks(); i < count;) {
        std::vector<Index::Addition> some;
        for (const std::size_t end = std::min(count, i + tracks_at_once); i < end; ++i) {
            const Fingerprint fingerprint = tracks[i];
            audio_s += fingerprint.duration_ms / 1000.0;
            some.push_back(
                {static_cast<Index::Row>(i + 1),
                 std::make_shared<const std::vector<std::byte>>(fingerprint::pack(fingerprint))});
        }
        index = index->with(some, {});
        write_files(folder, index, large_file_hashes);
    }
    write_files(folder, index, small_file_hashes);
    tell("added_audio_s", audio_s);
    tell("added_cpu_s", cpu_s() - begin_s);
    return index;
}

struct Clip {
    std::string label;
    Index::Row row = 0;
    std::string path;
};

std::vector<Clip> read_clips(const std::string& path) {
    std::vector<Clip> out;
    std::ifstream file(path);
    for (Clip clip; file >> clip.label >> clip.row >> clip.path;) {
        out.push_back(clip);
    }
    return out;
}

void ask(const Index& index, const std::vector<Clip>& clips) {
    catalog::Searcher searcher;
    for (const Clip& clip : clips) {
        const Fingerprint fingerprint = fingerprint_of(clip.path, Density::clip);
        const double begin_cpu_s = cpu_s();
        const double begin_s = wall_s();
        const auto found = searcher.search(index, fingerprint, {});
        const double used_s = cpu_s() - begin_cpu_s;
        const Index::Row row = found.matches.empty() ? 0 : found.matches[0].row;
        std::printf("clip %s %s %.0f %.0f %.3g %llu\n", clip.label.c_str(),
                    row == clip.row ? "right"
                    : row == 0      ? "none"
                                    : "wrong",
                    used_s * 1e6, (wall_s() - begin_s) * 1e6,
                    row == 0 ? 1.0 : found.matches[0].false_positive_probability,
                    static_cast<unsigned long long>(found.postings));
        std::fflush(stdout);
    }
}

int search_index(const std::string& path, std::size_t count, const std::string& clips,
                 const Paths& pcm) {
    catalog::IndexFolder folder(path);
    const double begin_cpu_s = cpu_s();
    const double begin_s = wall_s();
    Picture index = folder.load(
        no_store, [](Index::Row) { return true; },
        [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); });
    tell("open_cpu_s", cpu_s() - begin_cpu_s);
    tell("open_s", wall_s() - begin_s);
    if (index->live_tracks() > count) {
        throw std::runtime_error(path + " has more tracks");
    }
    index = fill_index(folder, std::move(index), count, pcm);
    tell("hashes", static_cast<double>(index->live_hashes()));
    tell("heap_mb", static_cast<double>(::mallinfo2().uordblks + ::mallinfo2().hblkhd) / 0x1p20);
    std::uint64_t bytes = 0;
    for (const auto& part : index->parts()) {
        bytes += part.file->bytes();
    }
    tell("files", static_cast<double>(index->parts().size()));
    tell("file_mb", static_cast<double>(bytes) / 0x1p20);
    ask(*index, read_clips(clips));
    tell("rss_mb", status_mb("VmRSS"));
    return 0;
}

// Lengths of posting lists as a search meets them: of the list that each posting is in.
int tell_lists(const Paths& pcm) {
    const Tracks tracks(pcm);
    std::vector<Fingerprint> real;
    std::vector<Fingerprint> varied;
    for (std::size_t i = 0; i < tracks.real(); ++i) {
        real.push_back(tracks[i]);
        varied.push_back(tracks[tracks.real() + i]);
    }
    std::printf("per_s %.4g %.4g\n", bench::hashes_per_s(real), bench::hashes_per_s(varied));
    const auto of_real = bench::list_lengths(real);
    const auto of_varied = bench::list_lengths(varied);
    for (const double share : bench::told_shares) {
        std::printf("length %g %u %u\n", share, bench::quantile(of_real, share),
                    bench::quantile(of_varied, share));
    }
    return 0;
}

int run(const Paths& words) {
    const std::string mode = words.empty() ? "" : words[0];
    const auto rest = [&](std::size_t from) {
        return Paths(words.begin() + static_cast<std::ptrdiff_t>(from), words.end());
    };
    if (mode == "fingerprint" && words.size() > 1) {
        return tell_speed(rest(1));
    }
    if (mode == "store" && words.size() > 3) {
        return fill_store(words[1], std::stoul(words[2]), rest(3));
    }
    if (mode == "index" && words.size() > 4) {
        return search_index(words[1], std::stoul(words[2]), words[3], rest(4));
    }
    if (mode == "lists" && words.size() > 1) {
        return tell_lists(rest(1));
    }
    std::fprintf(stderr, "usage: see the head of bench/identify.cpp\n");
    return 2;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(Paths(argv + 1, argv + argc));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench_identify: %s\n", error.what());
        return 1;
    }
}
