#include "commands.hpp"

namespace sonogate {

Commands::Commands(CLI::App& app) {
    declare_key(app);
    declare_catalog(app);
    declare_enrol(app);
}

void Commands::declare_key(CLI::App& app) {
    CLI::App* const key = app.add_subcommand("key", "The keys that sonogate_keys reads");
    CLI::App* const add = key->require_subcommand(1)->add_subcommand(
        "add", "Makes a key, prints it, and adds its SHA-256 to a file");
    add->add_option("name", key_.name, "Whose it is: $sonogate_identity")->required();
    add->add_option("--file", key_.file, "The key file; without it the line is printed");
    add->add_option("--roles", key_.roles, "Comma list of analyze, identify, catalog, ops")
        ->capture_default_str();
    add->add_option("--rate", key_.rate_class, "Its rate class: $sonogate_rate_class");
    key_add_ = add;
}

void Commands::declare_catalog(CLI::App& app) {
    CLI::App* const catalog = app.add_subcommand("catalog", "The catalog as a file");
    catalog->require_subcommand(1);
    const auto with_place = [&](CLI::App* command) {
        command->add_option("--state", place_.state, "The daemon's state folder")
            ->required()
            ->check(CLI::ExistingDirectory);
        command->add_option("--catalog", place_.catalog, "As in the sonogate_pool block")
            ->capture_default_str();
        return command;
    };
    CLI::App* const out = with_place(catalog->add_subcommand(
        "export", "Writes all that is enrolled now into a new file; the daemon serves on"));
    out->add_option("file", file_, "The file to write; must not be there")->required();
    CLI::App* const in = with_place(catalog->add_subcommand(
        "import", "Makes an exported file the catalog of a state folder that has none"));
    in->add_option("file", file_, "An exported file")->required()->check(CLI::ExistingFile);
    CLI::App* const verify =
        catalog->add_subcommand("verify", "Reads a catalog, or an exported file, to its last byte");
    verify->add_option("file", file_, "The file")->required()->check(CLI::ExistingFile);
    catalog_export_ = out;
    catalog_import_ = in;
    catalog_verify_ = verify;
}

void Commands::declare_enrol(CLI::App& app) {
    CLI::App* const enrol = app.add_subcommand(
        "enrol", "Enrols audio files over HTTP; run it again and it goes on where it was");
    enrol
        ->add_option("sources", enrol_.sources, "Folders, audio files, lists of files; - is a list")
        ->required();
    enrol->add_option("--url", enrol_.url, "Where the API is")->capture_default_str();
    enrol->add_option("--key-file", enrol_.key_file,
                      "Holds a key with the role catalog; without it SONOGATE_KEY may");
    enrol->add_option("--at-once", enrol_.at_once, "Files in flight; as many as there are cores")
        ->check(CLI::Range(1, 256));
    enrol_app_ = enrol;
}

std::optional<int> Commands::run() {
    if (key_add_->parsed()) {
        return keys::add(key_);
    }
    if (catalog_export_->parsed()) {
        return snapshot::export_catalog(place_, file_);
    }
    if (catalog_import_->parsed()) {
        return snapshot::import_catalog(place_, file_);
    }
    if (catalog_verify_->parsed()) {
        return snapshot::verify_catalog(file_);
    }
    if (enrol_app_->parsed()) {
        return enrol::enrol(enrol_);
    }
    return std::nullopt;
}

}  // namespace sonogate
