#include <curl/curl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "tools/ursulactl/cli.h"

int main(int argc, char** argv) {
    using namespace ursula::ctl;
    ::signal(SIGINT, [](int) { ::_exit(exit_interrupted); });
    curl_global_init(CURL_GLOBAL_DEFAULT);
    Surroundings around;
    around.environment = [](const char* name) {
        const char* value = std::getenv(name);
        return std::string(value == nullptr ? "" : value);
    };
    around.exists = [](const std::string& path) {
        struct stat status {};
        return ::stat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
    };
    around.to_terminal = ::isatty(STDOUT_FILENO) == 1;
    return run({argv + 1, argv + argc}, around);
}
