/* The minimum: an echo server that makes only two system calls for a message. Prints its port. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void must(int holds, const char *what)
{
    if (!holds) {
        perror(what);
        exit(1);
    }
}

int main(void)
{
    static char buffer[65536];
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poll = epoll_create1(0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    must(bind(listener, (struct sockaddr *)&address, size) == 0, "bind");
    must(listen(listener, 1024) == 0, "listen");
    must(getsockname(listener, (struct sockaddr *)&address, &size) == 0, "getsockname");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    must(epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event) == 0, "epoll_ctl");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        struct epoll_event events[256];
        const int ready = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            const int fd = events[i].data.fd;
            if (fd == listener) {
                const int new = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (new >= 0) {
                    setsockopt(new, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
                    event = (struct epoll_event){.events = EPOLLIN, .data.fd = new};
                    must(epoll_ctl(poll, EPOLL_CTL_ADD, new, &event) == 0, "epoll_ctl");
                }
                continue;
            }
            const ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
            if (got <= 0 || send(fd, buffer, got, 0) != got) {
                close(fd);
            }
        }
    }
}
