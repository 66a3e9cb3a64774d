/* Loaded before the C library (LD_PRELOAD): every read and write of a regular file below a
 * directory called "slow" blocks for 50 ms, as that of a network file system does that has gone
 * away for a while. What asks not to wait is told to come again.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif

static int is_slow(int fd)
{
    struct stat status;
    char link[64], path[4096];
    int before = errno, slow = 0;

    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        if (length > 0) {
            path[length] = 0;
            slow = strstr(path, "/slow/") != NULL;
        }
    }

    errno = before;
    return slow;
}

static void wait_for(int fd)
{
    const struct timespec pause = {0, 50 * 1000 * 1000};

    if (is_slow(fd))
        nanosleep(&pause, NULL);
}

#define SLOW(result, name, parameters, arguments, fd)                 \
    result name parameters                                            \
    {                                                                 \
        static result(*next) parameters;                              \
        if (!next)                                                    \
            next = (result(*) parameters)dlsym(RTLD_NEXT, #name);     \
        wait_for(fd);                                                 \
        return next arguments;                                        \
    }

SLOW(ssize_t, read, (int fd, void *data, size_t size), (fd, data, size), fd)
SLOW(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), fd)
SLOW(ssize_t, pread, (int fd, void *data, size_t size, off_t at), (fd, data, size, at), fd)
SLOW(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), fd)
SLOW(ssize_t, pread64, (int fd, void *data, size_t size, off64_t at), (fd, data, size, at), fd)
SLOW(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at),
     fd)
SLOW(ssize_t, readv, (int fd, const struct iovec *data, int count), (fd, data, count), fd)
SLOW(ssize_t, writev, (int fd, const struct iovec *data, int count), (fd, data, count), fd)
SLOW(ssize_t, preadv, (int fd, const struct iovec *data, int count, off_t at),
     (fd, data, count, at), fd)
SLOW(ssize_t, preadv64, (int fd, const struct iovec *data, int count, off64_t at),
     (fd, data, count, at), fd)
SLOW(ssize_t, pwritev, (int fd, const struct iovec *data, int count, off_t at),
     (fd, data, count, at), fd)
SLOW(ssize_t, pwritev64, (int fd, const struct iovec *data, int count, off64_t at),
     (fd, data, count, at), fd)
SLOW(ssize_t, sendfile, (int to, int from, off_t *at, size_t size), (to, from, at, size), from)
SLOW(ssize_t, sendfile64, (int to, int from, off64_t *at, size_t size), (to, from, at, size), from)
SLOW(ssize_t, splice, (int from, off64_t *at, int to, off64_t *to_at, size_t size, unsigned flags),
     (from, at, to, to_at, size, flags), is_slow(from) ? from : to)

#define SLOW_OR_AGAIN(name, offset)                                                       \
    ssize_t name(int fd, const struct iovec *data, int count, offset at, int flags)       \
    {                                                                                     \
        static ssize_t (*next)(int, const struct iovec *, int, offset, int);              \
        if (!next)                                                                        \
            next = (ssize_t(*)(int, const struct iovec *, int, offset, int))dlsym(RTLD_NEXT, #name); \
        if ((flags & RWF_NOWAIT) && is_slow(fd)) {                                        \
            errno = EAGAIN;                                                               \
            return -1;                                                                    \
        }                                                                                 \
        wait_for(fd);                                                                     \
        return next(fd, data, count, at, flags);                                          \
    }

SLOW_OR_AGAIN(preadv2, off_t)
SLOW_OR_AGAIN(preadv64v2, off64_t)
SLOW_OR_AGAIN(pwritev2, off_t)
SLOW_OR_AGAIN(pwritev64v2, off64_t)
