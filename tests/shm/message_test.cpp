#include "shm/message.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <string>
#include <vector>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}

namespace {

using sonogate::Errc;
using sonogate::UniqueFd;
using sonogate::shm::Hello;
using sonogate::shm::max_message_bytes;
using sonogate::shm::Message;
using sonogate::shm::MessageKind;
using sonogate::shm::peer_closed;
using sonogate::shm::receive_message;
using sonogate::shm::Received;
using sonogate::shm::send_message;
using sonogate::shm::SlabAdd;
using sonogate::shm::SlabDrop;

struct Sockets {
    UniqueFd near;
    UniqueFd far;
    Sockets() {
        int fds[2];
        assert_int_equal(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
        near.reset(fds[0]);
        far.reset(fds[1]);
    }
};

int open_descriptors() {
    int count = 0;
    DIR* folder = ::opendir("/proc/self/fd");
    while (::readdir(folder) != nullptr) {
        ++count;
    }
    ::closedir(folder);
    return count;
}

// A packet with as many descriptors as one likes, which send_packet() would not send.
void send_raw(int socket, std::size_t bytes, std::size_t fd_count) {
    std::vector<char> data(bytes, 7);
    std::vector<char> control(CMSG_SPACE(64 * sizeof(int)));
    iovec part{data.data(), data.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (fd_count > 0) {
        header.msg_control = control.data();
        header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        cmsghdr* c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        for (std::size_t i = 0; i < fd_count; ++i) {
            std::memcpy(CMSG_DATA(c) + i * sizeof(int), &socket, sizeof(int));
        }
    }
    assert_int_equal(::sendmsg(socket, &header, MSG_NOSIGNAL), bytes);
}

void a_message_arrives_with_its_descriptor(void**) {
    const Sockets sockets;
    const UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const int fds[] = {null.get()};
    assert_true(static_cast<bool>(
        send_message(sockets.near.get(), SlabAdd{.slab = 3, .segment_bytes = 4096}, fds)));
    Message message;
    assert_int_equal(receive_message(sockets.far.get(), message, false), Received::message);
    assert_int_equal(message.kind(), MessageKind::slab_add);
    const auto slab = message.as<SlabAdd>(1);
    assert_true(static_cast<bool>(slab));
    assert_int_equal(slab->slab, 3);
    assert_int_equal(::fcntl(message.fds[0].get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

void a_message_of_another_size_or_descriptor_count_is_refused(void**) {
    const Sockets sockets;
    assert_true(static_cast<bool>(send_message(sockets.near.get(), SlabDrop{.slab = 1})));
    Message message;
    assert_int_equal(receive_message(sockets.far.get(), message, false), Received::message);
    assert_false(static_cast<bool>(message.as<SlabAdd>(0)));
    assert_false(static_cast<bool>(message.as<SlabDrop>(1)));
    assert_true(static_cast<bool>(message.as<SlabDrop>(0)));
}

void a_single_byte_is_a_bell_and_nothing_is_nothing(void**) {
    const Sockets sockets;
    Message message;
    assert_int_equal(receive_message(sockets.far.get(), message, false), Received::nothing);
    assert_int_equal(::send(sockets.near.get(), "\xff", 1, 0), 1);
    assert_int_equal(receive_message(sockets.far.get(), message, false), Received::message);
    assert_true(message.is_bell());
    assert_int_equal(message.kind(), MessageKind::bell);
}

void a_kind_that_is_none_is_told_so(void**) {
    const Sockets sockets;
    for (const std::string& packet :
         {std::string("ab"), std::string(4, '\xff'), std::string(400, 'x')}) {
        assert_int_equal(::send(sockets.near.get(), packet.data(), packet.size(), 0),
                         packet.size());
        Message message;
        assert_int_equal(receive_message(sockets.far.get(), message, false), Received::message);
        assert_int_equal(message.kind(), MessageKind::count_);
    }
}

void a_packet_longer_than_any_message_is_a_lie(void**) {
    const Sockets sockets;
    send_raw(sockets.near.get(), max_message_bytes + 1, 0);
    Message message;
    assert_int_equal(receive_message(sockets.far.get(), message, false), Received::lie);
}

void too_many_descriptors_are_a_lie_and_all_are_closed(void**) {
    const Sockets sockets;
    const int before = open_descriptors();
    for (const std::size_t count : {sonogate::shm::max_message_fds + 1, 8UL, 9UL, 50UL}) {
        send_raw(sockets.near.get(), 16, count);
        Message message;
        assert_int_equal(receive_message(sockets.far.get(), message, false), Received::lie);
    }
    assert_int_equal(open_descriptors(), before);
}

void a_message_received_over_another_closes_its_descriptors(void**) {
    const Sockets sockets;
    const int before = open_descriptors();
    Message message;
    for (int i = 0; i < 10; ++i) {
        send_raw(sockets.near.get(), 16, 2);
        assert_int_equal(receive_message(sockets.far.get(), message, false), Received::message);
        assert_int_equal(message.fd_count, 2);
    }
    assert_int_equal(receive_message(sockets.far.get(), message, false), Received::nothing);
    assert_int_equal(open_descriptors(), before);
}

void the_end_of_the_peer_is_noticed(void**) {
    Sockets sockets;
    assert_false(peer_closed(sockets.far.get()));
    sockets.near.reset();
    assert_true(peer_closed(sockets.far.get()));
    Message message;
    assert_int_equal(receive_message(sockets.far.get(), message, true), Received::closed);
    assert_int_equal(receive_message(sockets.far.get(), message, false), Received::closed);
}

void the_end_of_a_peer_that_left_mail_unread_is_noticed(void**) {
    // The kernel tells this as ECONNRESET, once, and not as EOF.
    {
        Sockets sockets;
        assert_true(static_cast<bool>(send_message(sockets.far.get(), SlabDrop{})));
        sockets.near.reset();
        assert_true(peer_closed(sockets.far.get()));
    }
    Sockets sockets;
    assert_true(static_cast<bool>(send_message(sockets.far.get(), SlabDrop{})));
    sockets.near.reset();
    Message message;
    assert_int_equal(receive_message(sockets.far.get(), message, true), Received::closed);
}

void a_message_waiting_does_not_look_like_an_end(void**) {
    const Sockets sockets;
    assert_true(static_cast<bool>(send_message(sockets.near.get(), SlabDrop{.slab = 9})));
    assert_false(peer_closed(sockets.far.get()));
    Message message;
    assert_int_equal(receive_message(sockets.far.get(), message, false), Received::message);
    assert_int_equal(message.as<SlabDrop>(0)->slab, 9);
}

void a_full_socket_is_overloaded_and_never_blocks(void**) {
    const Sockets sockets;
    int sent = 0;
    for (;; ++sent) {
        const auto result = send_message(sockets.near.get(), Hello{});
        if (!result) {
            assert_int_equal(result.failure().code, Errc::overloaded);
            break;
        }
        assert_true(sent < 100'000);
    }
    assert_true(sent > 0);
}

void a_dead_socket_fails_with_the_reason(void**) {
    Sockets sockets;
    sockets.far.reset();
    const auto result = send_message(sockets.near.get(), SlabDrop{});
    assert_false(static_cast<bool>(result));
    assert_int_equal(result.failure().code, Errc::internal);
    assert_int_equal(result.failure().error, EPIPE);
}

}  // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_message_arrives_with_its_descriptor),
        cmocka_unit_test(a_message_of_another_size_or_descriptor_count_is_refused),
        cmocka_unit_test(a_single_byte_is_a_bell_and_nothing_is_nothing),
        cmocka_unit_test(a_kind_that_is_none_is_told_so),
        cmocka_unit_test(a_packet_longer_than_any_message_is_a_lie),
        cmocka_unit_test(too_many_descriptors_are_a_lie_and_all_are_closed),
        cmocka_unit_test(a_message_received_over_another_closes_its_descriptors),
        cmocka_unit_test(the_end_of_the_peer_is_noticed),
        cmocka_unit_test(the_end_of_a_peer_that_left_mail_unread_is_noticed),
        cmocka_unit_test(a_message_waiting_does_not_look_like_an_end),
        cmocka_unit_test(a_full_socket_is_overloaded_and_never_blocks),
        cmocka_unit_test(a_dead_socket_fails_with_the_reason),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
