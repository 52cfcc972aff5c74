// The subcommands of sonogated: things an operator does beside the running daemon.
//
// For: main.cpp. Not for: what they do; each has a room.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>

#include "enrol/run.hpp"
#include "keys/add.hpp"
#include "snapshot/commands.hpp"

namespace sonogate {

class Commands {
  public:
    // Declares them; the app is borrowed until it has parsed.
    explicit Commands(CLI::App& app);
    Commands(const Commands&) = delete;
    Commands& operator=(const Commands&) = delete;

    // The exit status of the one that was asked for; nullopt: none, the daemon is to start.
    std::optional<int> run();

  private:
    void declare_key(CLI::App& app);
    void declare_catalog(CLI::App& app);
    void declare_enrol(CLI::App& app);

    keys::AddOptions key_;
    snapshot::Place place_;
    std::string file_;
    enrol::Options enrol_;

    const CLI::App* key_add_ = nullptr;
    const CLI::App* catalog_export_ = nullptr;
    const CLI::App* catalog_import_ = nullptr;
    const CLI::App* catalog_verify_ = nullptr;
    const CLI::App* enrol_app_ = nullptr;
};

}  // namespace sonogate
