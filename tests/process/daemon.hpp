// A real sonogated with a state folder of its own, and what /proc tells of it.
//
// For: tests/process. Not for: anything that ships.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "tests/process/link_client.hpp"

namespace sonogate::tests {

// A process of the daemon, told apart by its title: "zygote", "worker 0", "librarian".
struct ProcessOf {
    pid_t pid;
    std::string role;
};

class Daemon {
  public:
    // Its standard error; a file in its folder where none is given.
    explicit Daemon(int standard_error = -1) : standard_error_(standard_error) {
        std::string pattern = (std::filesystem::temp_directory_path() / "sonogate-test-XXXXXX");
        folder = ::mkdtemp(pattern.data());
        start();
    }
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;
    ~Daemon() {
        stop(SIGKILL);
        std::filesystem::remove_all(folder);
    }

    std::string socket_path() const { return folder + "/main.sock"; }

    void start() {
        const std::string path = socket_path();
        pid = ::fork();
        if (pid == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that fails leaves no daemon behind
            const std::string log = folder + "/log";
            const int fd = standard_error_ >= 0
                               ? standard_error_
                               : ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
            ::dup2(fd, STDERR_FILENO);
            ::execl(SONOGATED, SONOGATED, "--socket", path.c_str(), "--state", folder.c_str(),
                    "--log-level", "debug", nullptr);
            ::_exit(127);
        }
        for (int i = 0; i < 2000 && !connect_to(path); ++i) {
            ::usleep(5'000);
        }
    }

    // Its exit status; -signal where one ended it.
    int stop(int number) {
        if (pid <= 0) {
            return 0;
        }
        const auto zygotes = processes();
        ::kill(pid, number);
        int status = 0;
        ::waitpid(pid, &status, 0);
        pid = 0;
        // The others end by EOF.
        for (int i = 0; i < 1000; ++i) {
            bool any = false;
            for (const auto& process : zygotes) {
                any = any || title(process.pid) == process.role;
            }
            if (!any) {
                break;
            }
            ::usleep(10'000);
        }
        return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
    }

    // The zygote and its children.
    std::vector<ProcessOf> processes() const {
        std::vector<ProcessOf> out;
        for (const pid_t zygote : children_of(pid)) {
            out.push_back({zygote, title(zygote)});
            for (const pid_t child : children_of(zygote)) {
                out.push_back({child, title(child)});
            }
        }
        return out;
    }

    std::vector<pid_t> workers() const {
        std::vector<pid_t> out;
        for (const auto& process : processes()) {
            if (process.role.starts_with("worker")) {
                out.push_back(process.pid);
            }
        }
        return out;
    }
    pid_t librarian() const {
        for (const auto& process : processes()) {
            if (process.role == "librarian") {
                return process.pid;
            }
        }
        return 0;
    }

    std::size_t descriptors() const { return count_in("/proc/" + std::to_string(pid) + "/fd"); }
    std::size_t mappings() const {
        std::istringstream file(read_proc("/proc/" + std::to_string(pid) + "/maps"));
        std::size_t lines = 0;
        for (std::string line; std::getline(file, line);) {
            lines += line.find("memfd:") != std::string::npos ? 1U : 0U;
        }
        return lines;
    }

    std::string log() const {
        std::ifstream file(folder + "/log");
        return {std::istreambuf_iterator<char>(file), {}};
    }

    // A file of /proc; empty where the process is gone, or goes while it is read (which is an
    // exception to a std::ifstream).
    static std::string read_proc(const std::string& path) {
        const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        std::string out(64U << 10U, '\0');
        std::size_t size = 0;
        while (file && size < out.size()) {
            const ssize_t n = ::read(file.get(), out.data() + size, out.size() - size);
            if (n <= 0) {
                break;
            }
            size += static_cast<std::size_t>(n);
        }
        out.resize(size);
        return out;
    }

    static std::vector<pid_t> children_of(pid_t parent) {
        std::vector<pid_t> out;
        const std::string id = std::to_string(parent);
        std::istringstream file(read_proc("/proc/" + id + "/task/" + id + "/children"));
        for (pid_t child = 0; file >> child;) {
            out.push_back(child);
        }
        return out;
    }
    // "worker 0" of "sonogated: worker 0"; empty for what is no process of the daemon.
    static std::string title(pid_t process) {
        std::string line = read_proc("/proc/" + std::to_string(process) + "/cmdline");
        line = line.substr(0, line.find('\0'));
        const std::string prefix = "sonogated: ";
        return line.starts_with(prefix) ? line.substr(prefix.size()) : "";
    }
    static std::size_t count_in(const std::string& path) {
        std::error_code error;
        std::size_t n = 0;
        for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
            (void)entry;
            ++n;
        }
        return n;
    }

    std::string folder;
    pid_t pid = 0;

  private:
    int standard_error_;
};

// A mono 16-bit WAV of a tone with a little noise, as bytes: real work for a worker.
inline std::string tone_wav(double seconds, double frequency_hz, std::uint32_t seed = 1) {
    constexpr std::uint32_t rate_hz = 8000;
    const auto frames = static_cast<std::uint32_t>(seconds * rate_hz);
    std::string out;
    const auto put = [&](const auto& value) {
        out.append(reinterpret_cast<const char*>(&value), sizeof(value));
    };
    out += "RIFF";
    put(static_cast<std::uint32_t>(36 + frames * 2));
    out += "WAVEfmt ";
    put(std::uint32_t{16});
    put(std::uint16_t{1});
    put(std::uint16_t{1});
    put(rate_hz);
    put(static_cast<std::uint32_t>(rate_hz * 2));
    put(std::uint16_t{2});
    put(std::uint16_t{16});
    out += "data";
    put(static_cast<std::uint32_t>(frames * 2));
    for (std::uint32_t i = 0; i < frames; ++i) {
        seed = seed * 1664525U + 1013904223U;
        const double noise = static_cast<double>(seed >> 16U) / 65536.0 - 0.5;
        const double value =
            12000.0 * __builtin_sin(6.283185307179586 * frequency_hz * i / rate_hz) +
            2000.0 * noise;
        put(static_cast<std::int16_t>(value));
    }
    return out;
}

}  // namespace sonogate::tests
