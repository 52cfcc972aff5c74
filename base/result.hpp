// Result<T>: a value, or why there is none.
//
// For: every fallible call whose failure the world can cause. Not for: bugs (assert) nor for text.
#pragma once

#include <cassert>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/errc.hpp"
#include "base/parameter.hpp"

namespace sonogate {

// A failure as it crosses shared memory and reaches the client: numbers only.
struct Failure {
    Errc code = Errc::internal;
    Parameter parameter = Parameter::none;  // which one, for invalid_parameter
    int error = 0;                          // errno where a system call said no, else 0
    std::uint64_t limit = 0;                // the bound that was passed, 0 = none to tell
    std::uint64_t value = 0;                // what was found instead
};

template <typename T>
class [[nodiscard]] Result {
  public:
    // NOLINTBEGIN(google-explicit-constructor): `return value` and `return failure` read as such.
    // By value: a returned local is moved in, whatever T is.
    // cppcheck-suppress passedByValue
    Result(T value) noexcept : value_(std::move(value)) {}
    Result(Failure failure) noexcept : failure_(failure) {}
    Result(Errc code) noexcept : failure_{.code = code} { assert(code != Errc::ok); }
    // NOLINTEND(google-explicit-constructor)

    explicit operator bool() const noexcept { return value_.has_value(); }
    T& operator*() noexcept {
        assert(value_);
        return *value_;
    }
    const T& operator*() const noexcept {
        assert(value_);
        return *value_;
    }
    T* operator->() noexcept {
        assert(value_);
        return &*value_;
    }
    const T* operator->() const noexcept {
        assert(value_);
        return &*value_;
    }
    const Failure& failure() const noexcept {
        assert(!value_);
        return failure_;
    }

  private:
    std::optional<T> value_;
    Failure failure_{};
};

template <>
class [[nodiscard]] Result<void> {
  public:
    Result() noexcept : failure_{.code = Errc::ok} {}
    // NOLINTBEGIN(google-explicit-constructor): as above
    Result(Failure failure) noexcept : failure_(failure) { assert(failure.code != Errc::ok); }
    Result(Errc code) noexcept : failure_{.code = code} { assert(code != Errc::ok); }
    // NOLINTEND(google-explicit-constructor)

    explicit operator bool() const noexcept { return failure_.code == Errc::ok; }
    const Failure& failure() const noexcept { return failure_; }

  private:
    Failure failure_;
};

// The usual way a parameter is refused.
constexpr Failure invalid(Parameter parameter) noexcept {
    return Failure{.code = Errc::invalid_parameter, .parameter = parameter};
}

// The usual way a system call fails: an internal problem for the client, errno for the log.
constexpr Failure system_failure(int error) noexcept {
    return Failure{.code = Errc::internal, .error = error};
}

}  // namespace sonogate
