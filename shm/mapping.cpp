// The one file of shm that is compiled with exceptions: Boost.Interprocess throws where a mapping
// fails.
#include <boost/interprocess/mapped_region.hpp>
#include <cerrno>
#include <new>
#include <utility>

#include "shm/segment.hpp"

namespace sonogate::shm {

namespace {

// Any class with get_mapping_handle() can be mapped; this one borrows a memfd.
class BorrowedFd {
  public:
    explicit BorrowedFd(int fd) noexcept : fd_(fd) {}
    boost::interprocess::mapping_handle_t get_mapping_handle() const noexcept {
        return boost::interprocess::ipcdetail::mapping_handle_from_file_handle(fd_);
    }

  private:
    int fd_;
};

}  // namespace

struct Mapping::Region {
    boost::interprocess::mapped_region region;
};

Mapping::Mapping() noexcept = default;
Mapping::Mapping(Mapping&& other) noexcept = default;
Mapping& Mapping::operator=(Mapping&& other) noexcept = default;
Mapping::~Mapping() = default;

Result<Mapping> Mapping::map(int fd, std::size_t bytes, Access wanted) noexcept {
    try {
        const auto mode = wanted == Access::write ? boost::interprocess::read_write
                                                  : boost::interprocess::read_only;
        Mapping out;
        out.region_ = std::make_unique<Region>();
        out.region_->region = boost::interprocess::mapped_region(BorrowedFd(fd), mode, 0, bytes);
        return out;
    } catch (const boost::interprocess::interprocess_exception& e) {
        return system_failure(e.get_native_error() != 0 ? e.get_native_error() : EINVAL);
    } catch (const std::bad_alloc&) {
        return system_failure(ENOMEM);
    }
}

std::byte* Mapping::data() const noexcept {
    return region_ ? static_cast<std::byte*>(region_->region.get_address()) : nullptr;
}

std::size_t Mapping::size() const noexcept {
    return region_ ? region_->region.get_size() : 0;
}

}  // namespace sonogate::shm
