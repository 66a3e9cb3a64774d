/* Loaded before the C library (LD_PRELOAD): records the system calls that a program makes between
 * two marks, and lets one of them fail. Python, libuv and OpenSSL all make them through here.
 *
 * The marks, the call that fails and the records lie in a file that the harness maps, too; see
 * injection.py, which knows the same layout. Threads that have called torture_exempt() are left
 * alone: they work for the harness.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define RECORDS 16384
#define SHORT (-1)

struct call {
    char name[24];   /* the function of the C library */
    char caller[12]; /* who called it: python, uvloop, openssl, other */
    char kind[12];   /* what its descriptor is */
};

struct shared {
    uint32_t mode; /* 0: nothing, 1: record, 2: fail */
    uint32_t control_port;
    struct call target;
    uint32_t nth;
    int32_t error; /* an errno, or SHORT */
    uint32_t reached;
    uint32_t fired;
    uint32_t recorded;
    uint32_t traces; /* whether the call that fails raises SIGUSR2 first: Python shows its stack */
    struct call records[RECORDS];
};

static struct shared *shared;
static long (*real_syscall)(long, ...);
static __thread int is_exempt;

void torture_exempt(void) { is_exempt = 1; }

/* Other libraries begin before this one, and may make calls then: that of Python 3.13 does. */
static void find_syscall(void)
{
    if (!real_syscall)
        real_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FTPDATA_TORTURE");
    find_syscall();
    if (!path)
        return;
    int fd = (int)real_syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    void *memory = (void *)real_syscall(SYS_mmap, NULL, sizeof(struct shared),
                                        PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    real_syscall(SYS_close, fd);
    if (memory != MAP_FAILED)
        shared = memory;
}

static const char *caller_of(void *address)
{
    Dl_info info;
    if (!dladdr(address, &info) || !info.dli_fname)
        return "other";
    if (strstr(info.dli_fname, "/uvloop/"))
        return "uvloop";
    if (strstr(info.dli_fname, "/libssl") || strstr(info.dli_fname, "/libcrypto"))
        return "openssl";
    if (strstr(info.dli_fname, "python"))
        return "python";
    return strstr(info.dli_fname, "libffi") ? "python" : "other";
}

static const char *kind_of(int fd)
{
    struct stat status;
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int is_listening = 0;
    socklen_t size = sizeof is_listening;

    if (fd < 0)
        return "path";
    if (real_syscall(SYS_newfstatat, fd, "", &status, AT_EMPTY_PATH) != 0)
        return "none";
    switch (status.st_mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "directory";
    case S_IFIFO:
        return "pipe";
    case S_IFSOCK:
        break;
    case 0:
        return "event";
    default:
        return "other";
    }
    if (real_syscall(SYS_getsockname, fd, &address, &length) != 0)
        return "socket";
    if (address.ss_family != AF_INET)
        return "wakeup";
    if (ntohs(((struct sockaddr_in *)&address)->sin_port) == shared->control_port)
        return "control";
    real_syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size);
    return is_listening ? "listener" : "data";
}

static int is_same(const struct call *one, const struct call *other)
{
    return !strncmp(one->name, other->name, sizeof one->name) &&
           !strncmp(one->caller, other->caller, sizeof one->caller) &&
           !strncmp(one->kind, other->kind, sizeof one->kind);
}

/* Return the errno that this call is to fail with; 0 if it is not to fail. */
static int fault(const char *name, int fd, void *from)
{
    struct call call = {0};
    int before = errno, error = 0;

    if (!shared || is_exempt || !__atomic_load_n(&shared->mode, __ATOMIC_ACQUIRE))
        return 0;

    strncpy(call.name, name, sizeof call.name - 1);
    strncpy(call.caller, caller_of(from), sizeof call.caller - 1);
    strncpy(call.kind, kind_of(fd), sizeof call.kind - 1);
    uint32_t index = __atomic_fetch_add(&shared->recorded, 1, __ATOMIC_ACQ_REL);
    if (index < RECORDS)
        shared->records[index] = call;
    if (shared->mode == 2 && is_same(&call, &shared->target) &&
        __atomic_add_fetch(&shared->reached, 1, __ATOMIC_ACQ_REL) == shared->nth) {
        error = shared->error;
        __atomic_store_n(&shared->fired, index + 1, __ATOMIC_RELEASE);
        if (shared->traces)
            raise(SIGUSR2);
    }
    errno = before;
    return error;
}

#define HERE __builtin_return_address(0)
#define NEXT(name, result, parameters)                                \
    static result(*next) parameters;                                  \
    if (!next)                                                        \
        next = (result(*) parameters)dlsym(RTLD_NEXT, #name)

/* A function that returns `failure` and sets errno, in the calls that `may_fail`. */
#define FAILS_IF(may_fail, result, failure, name, parameters, arguments, fd) \
    result name parameters                                            \
    {                                                                 \
        NEXT(name, result, parameters);                               \
        int error = (may_fail) ? fault(#name, fd, HERE) : 0;          \
        if (error > 0) {                                              \
            errno = error;                                            \
            return failure;                                           \
        }                                                             \
        return next arguments;                                        \
    }

#define FAILS(result, failure, name, parameters, arguments, fd) \
    FAILS_IF(1, result, failure, name, parameters, arguments, fd)

/* One that may also do half of what it is asked for. */
#define MOVES(result, name, parameters, arguments, fd, size)          \
    result name parameters                                            \
    {                                                                 \
        NEXT(name, result, parameters);                               \
        int error = fault(#name, fd, HERE);                           \
        if (error > 0) {                                              \
            errno = error;                                            \
            return -1;                                                \
        }                                                             \
        if (error == SHORT)                                           \
            size = (size + 1) / 2;                                    \
        return next arguments;                                        \
    }

/* One that returns its error. */
#define RETURNS(name, parameters, arguments, fd)                      \
    int name parameters                                               \
    {                                                                 \
        NEXT(name, int, parameters);                                  \
        int error = fault(#name, fd, HERE);                           \
        return error > 0 ? error : next arguments;                    \
    }

#define INT(name, parameters, arguments, fd) FAILS(int, -1, name, parameters, arguments, fd)

/* Files by name. */

#define OPENS(name, parameters, arguments)                            \
    int name parameters                                               \
    {                                                                 \
        NEXT(name, int, parameters);                                  \
        va_list rest;                                                 \
        va_start(rest, flags);                                        \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                 \
        int error = fault(#name, -1, HERE);                           \
        if (error > 0) {                                              \
            errno = error;                                            \
            return -1;                                                \
        }                                                             \
        return next arguments;                                        \
    }

OPENS(open, (const char *path, int flags, ...), (path, flags, mode))
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode))
OPENS(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode))
OPENS(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode))

INT(stat, (const char *path, struct stat *to), (path, to), -1)
INT(stat64, (const char *path, struct stat64 *to), (path, to), -1)
INT(lstat, (const char *path, struct stat *to), (path, to), -1)
INT(lstat64, (const char *path, struct stat64 *to), (path, to), -1)
INT(fstatat, (int at, const char *path, struct stat *to, int flags), (at, path, to, flags), -1)
INT(fstatat64, (int at, const char *path, struct stat64 *to, int flags), (at, path, to, flags), -1)
INT(statx, (int at, const char *path, int flags, unsigned mask, struct statx *to),
    (at, path, flags, mask, to), -1)
INT(access, (const char *path, int mode), (path, mode), -1)
INT(faccessat, (int at, const char *path, int mode, int flags), (at, path, mode, flags), -1)
INT(rename, (const char *old, const char *new), (old, new), -1)
INT(renameat, (int from, const char *old, int to, const char *new), (from, old, to, new), -1)
INT(renameat2, (int from, const char *old, int to, const char *new, unsigned flags),
    (from, old, to, new, flags), -1)
INT(link, (const char *old, const char *new), (old, new), -1)
INT(linkat, (int from, const char *old, int to, const char *new, int flags),
    (from, old, to, new, flags), -1)
INT(unlink, (const char *path), (path), -1)
INT(unlinkat, (int at, const char *path, int flags), (at, path, flags), -1)
INT(mkdir, (const char *path, mode_t mode), (path, mode), -1)
INT(mkdirat, (int at, const char *path, mode_t mode), (at, path, mode), -1)
INT(rmdir, (const char *path), (path), -1)
INT(chmod, (const char *path, mode_t mode), (path, mode), -1)
INT(fchmodat, (int at, const char *path, mode_t mode, int flags), (at, path, mode, flags), -1)
INT(fchownat, (int at, const char *path, uid_t user, gid_t group, int flags),
    (at, path, user, group, flags), -1)
INT(utimensat, (int at, const char *path, const struct timespec times[2], int flags),
    (at, path, times, flags), -1)
FAILS(ssize_t, -1, readlink, (const char *path, char *to, size_t size), (path, to, size), -1)
FAILS(ssize_t, -1, readlinkat, (int at, const char *path, char *to, size_t size),
      (at, path, to, size), -1)
FAILS(ssize_t, -1, getxattr, (const char *path, const char *name, void *to, size_t size),
      (path, name, to, size), -1)
FAILS(ssize_t, -1, listxattr, (const char *path, char *to, size_t size), (path, to, size), -1)
FAILS(ssize_t, -1, lgetxattr, (const char *path, const char *name, void *to, size_t size),
      (path, name, to, size), -1)
FAILS(ssize_t, -1, llistxattr, (const char *path, char *to, size_t size), (path, to, size), -1)
INT(removexattr, (const char *path, const char *name), (path, name), -1)
INT(lremovexattr, (const char *path, const char *name), (path, name), -1)
INT(lsetxattr, (const char *path, const char *name, const void *from, size_t size, int flags),
    (path, name, from, size, flags), -1)
INT(setxattr, (const char *path, const char *name, const void *from, size_t size, int flags),
    (path, name, from, size, flags), -1)
FAILS(DIR *, NULL, opendir, (const char *path), (path), -1)
FAILS(FILE *, NULL, fopen, (const char *path, const char *how), (path, how), -1)
FAILS(FILE *, NULL, fopen64, (const char *path, const char *how), (path, how), -1)

/* Files by descriptor. */

INT(fstat, (int fd, struct stat *to), (fd, to), fd)
INT(fstat64, (int fd, struct stat64 *to), (fd, to), fd)
struct statfs;
struct statfs64;
INT(fstatfs, (int fd, struct statfs *to), (fd, to), fd)
INT(fstatfs64, (int fd, struct statfs64 *to), (fd, to), fd)
FAILS(off_t, -1, lseek, (int fd, off_t at, int from), (fd, at, from), fd)
FAILS(off64_t, -1, lseek64, (int fd, off64_t at, int from), (fd, at, from), fd)
MOVES(ssize_t, read, (int fd, void *to, size_t size), (fd, to, size), fd, size)
MOVES(ssize_t, write, (int fd, const void *from, size_t size), (fd, from, size), fd, size)
MOVES(ssize_t, pread, (int fd, void *to, size_t size, off_t at), (fd, to, size, at), fd, size)
MOVES(ssize_t, pread64, (int fd, void *to, size_t size, off64_t at), (fd, to, size, at), fd, size)
MOVES(ssize_t, pwrite, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at), fd,
      size)
MOVES(ssize_t, pwrite64, (int fd, const void *from, size_t size, off64_t at),
      (fd, from, size, at), fd, size)
FAILS(ssize_t, -1, readv, (int fd, const struct iovec *to, int count), (fd, to, count), fd)
FAILS(ssize_t, -1, writev, (int fd, const struct iovec *from, int count), (fd, from, count), fd)
FAILS(ssize_t, -1, preadv, (int fd, const struct iovec *to, int count, off_t at),
      (fd, to, count, at), fd)
FAILS(ssize_t, -1, preadv64, (int fd, const struct iovec *to, int count, off64_t at),
      (fd, to, count, at), fd)
FAILS(ssize_t, -1, preadv2, (int fd, const struct iovec *to, int count, off_t at, int flags),
      (fd, to, count, at, flags), fd)
FAILS(ssize_t, -1, preadv64v2, (int fd, const struct iovec *to, int count, off64_t at, int flags),
      (fd, to, count, at, flags), fd)
FAILS(ssize_t, -1, pwritev, (int fd, const struct iovec *from, int count, off_t at),
      (fd, from, count, at), fd)
FAILS(ssize_t, -1, pwritev64, (int fd, const struct iovec *from, int count, off64_t at),
      (fd, from, count, at), fd)
FAILS(ssize_t, -1, pwritev2, (int fd, const struct iovec *from, int count, off_t at, int flags),
      (fd, from, count, at, flags), fd)
FAILS(ssize_t, -1, pwritev64v2,
      (int fd, const struct iovec *from, int count, off64_t at, int flags),
      (fd, from, count, at, flags), fd)
INT(fsync, (int fd), (fd), fd)
INT(fdatasync, (int fd), (fd), fd)
INT(ftruncate, (int fd, off_t size), (fd, size), fd)
INT(ftruncate64, (int fd, off64_t size), (fd, size), fd)
INT(fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size), fd)
INT(fallocate64, (int fd, int mode, off64_t at, off64_t size), (fd, mode, at, size), fd)
RETURNS(posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size), fd)
RETURNS(posix_fallocate64, (int fd, off64_t at, off64_t size), (fd, at, size), fd)
RETURNS(posix_fadvise, (int fd, off_t at, off_t size, int advice), (fd, at, size, advice), fd)
RETURNS(posix_fadvise64, (int fd, off64_t at, off64_t size, int advice), (fd, at, size, advice), fd)
INT(fchmod, (int fd, mode_t mode), (fd, mode), fd)
INT(fchown, (int fd, uid_t user, gid_t group), (fd, user, group), fd)
INT(futimens, (int fd, const struct timespec times[2]), (fd, times), fd)
FAILS(ssize_t, -1, fgetxattr, (int fd, const char *name, void *to, size_t size),
      (fd, name, to, size), fd)
FAILS(ssize_t, -1, flistxattr, (int fd, char *to, size_t size), (fd, to, size), fd)
INT(fsetxattr, (int fd, const char *name, const void *from, size_t size, int flags),
    (fd, name, from, size, flags), fd)
INT(fremovexattr, (int fd, const char *name), (fd, name), fd)
INT(flock, (int fd, int how), (fd, how), fd)
INT(dup, (int fd), (fd), fd)
INT(dup2, (int fd, int to), (fd, to), fd)
INT(dup3, (int fd, int to, int flags), (fd, to, flags), fd)
FAILS(DIR *, NULL, fdopendir, (int fd), (fd), fd)
FAILS(struct dirent *, NULL, readdir, (DIR *from), (from), dirfd(from))
FAILS(struct dirent64 *, NULL, readdir64, (DIR *from), (from), dirfd(from))
MOVES(ssize_t, sendfile, (int to, int from, off_t *at, size_t size), (to, from, at, size), to, size)
MOVES(ssize_t, sendfile64, (int to, int from, off64_t *at, size_t size), (to, from, at, size), to,
      size)
MOVES(ssize_t, splice,
      (int from, off64_t *at, int to, off64_t *to_at, size_t size, unsigned flags),
      (from, at, to, to_at, size, flags), from, size)
MOVES(ssize_t, copy_file_range,
      (int from, off64_t *at, int to, off64_t *to_at, size_t size, unsigned flags),
      (from, at, to, to_at, size, flags), from, size)

/* The memory of a thread's frames: a new thread that has none ends, and who has started it waits
 * for it for ever (python/cpython#140746). */
#define FRAMES (16 * 1024)

#define IS_OF_FRAMES (size == FRAMES && fd < 0)

FAILS_IF(!IS_OF_FRAMES, void *, MAP_FAILED, mmap,
         (void *address, size_t size, int protection, int flags, int fd, off_t at),
         (address, size, protection, flags, fd, at), fd)
FAILS_IF(!IS_OF_FRAMES, void *, MAP_FAILED, mmap64,
         (void *address, size_t size, int protection, int flags, int fd, off64_t at),
         (address, size, protection, flags, fd, at), fd)

int close(int fd)
{
    NEXT(close, int, (int));
    int error = fault("close", fd, HERE);
    int result = next(fd);
    if (error > 0) {
        /* A close that fails has closed the descriptor all the same. */
        errno = error;
        return -1;
    }
    return result;
}

int closedir(DIR *directory)
{
    NEXT(closedir, int, (DIR *));
    int error = fault("closedir", dirfd(directory), HERE);
    int result = next(directory);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return result;
}

#define CONTROLS(name, request_type)                                  \
    int name(int fd, request_type request, ...)                       \
    {                                                                 \
        NEXT(name, int, (int, request_type, ...));                    \
        va_list rest;                                                 \
        va_start(rest, request);                                      \
        void *argument = va_arg(rest, void *);                        \
        va_end(rest);                                                 \
        int error = fault(#name, fd, HERE);                           \
        if (error > 0) {                                              \
            errno = error;                                            \
            return -1;                                                \
        }                                                             \
        return next(fd, request, argument);                           \
    }

#define FCNTL(name)                                                   \
    int name(int fd, int request, ...)                                \
    {                                                                 \
        NEXT(name, int, (int, int, ...));                             \
        va_list rest;                                                 \
        va_start(rest, request);                                      \
        void *argument = va_arg(rest, void *);                        \
        va_end(rest);                                                 \
        int error = fault(request == F_DUPFD_CLOEXEC || request == F_DUPFD ? "dup" \
                          : request == F_SETPIPE_SZ ? "fcntl(F_SETPIPE_SZ)"        \
                          : request == F_GETFD || request == F_SETFD ||            \
                            request == F_GETFL || request == F_SETFL ? "fcntl(flags)" : #name, \
                          fd, HERE);                                  \
        if (error > 0) {                                              \
            errno = error;                                            \
            return -1;                                                \
        }                                                             \
        return next(fd, request, argument);                           \
    }

FCNTL(fcntl)
FCNTL(fcntl64)
CONTROLS(ioctl, unsigned long)

/* Sockets, pipes and events. */

INT(pipe, (int to[2]), (to), -1)
INT(pipe2, (int to[2], int flags), (to, flags), -1)
INT(socket, (int domain, int type, int protocol), (domain, type, protocol), -1)
INT(socketpair, (int domain, int type, int protocol, int to[2]), (domain, type, protocol, to), -1)
INT(bind, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size), fd)
INT(listen, (int fd, int backlog), (fd, backlog), fd)
INT(accept, (int fd, struct sockaddr *address, socklen_t *size), (fd, address, size), fd)
INT(accept4, (int fd, struct sockaddr *address, socklen_t *size, int flags),
    (fd, address, size, flags), fd)
INT(connect, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size), fd)
INT(getsockname, (int fd, struct sockaddr *address, socklen_t *size), (fd, address, size), fd)
INT(getpeername, (int fd, struct sockaddr *address, socklen_t *size), (fd, address, size), fd)
INT(getsockopt, (int fd, int level, int option, void *to, socklen_t *size),
    (fd, level, option, to, size), fd)
INT(shutdown, (int fd, int how), (fd, how), fd)
MOVES(ssize_t, send, (int fd, const void *from, size_t size, int flags), (fd, from, size, flags),
      fd, size)
MOVES(ssize_t, sendto,
      (int fd, const void *from, size_t size, int flags, const struct sockaddr *to,
       socklen_t length),
      (fd, from, size, flags, to, length), fd, size)
FAILS(ssize_t, -1, sendmsg, (int fd, const struct msghdr *message, int flags),
      (fd, message, flags), fd)
MOVES(ssize_t, recv, (int fd, void *to, size_t size, int flags), (fd, to, size, flags), fd, size)
MOVES(ssize_t, recvfrom,
      (int fd, void *to, size_t size, int flags, struct sockaddr *from, socklen_t *length),
      (fd, to, size, flags, from, length), fd, size)
FAILS(ssize_t, -1, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags), fd)
INT(epoll_create1, (int flags), (flags), -1)
INT(epoll_wait, (int epoll, struct epoll_event *events, int most, int timeout),
    (epoll, events, most, timeout), epoll)
INT(epoll_pwait,
    (int epoll, struct epoll_event *events, int most, int timeout, const sigset_t *mask),
    (epoll, events, most, timeout, mask), epoll)
INT(poll, (struct pollfd *fds, nfds_t count, int timeout), (fds, count, timeout),
    count ? fds[0].fd : -1)
INT(eventfd, (unsigned initial, int flags), (initial, flags), -1)

int epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    NEXT(epoll_ctl, int, (int, int, int, struct epoll_event *));
    int error = fault(what == EPOLL_CTL_ADD ? "epoll_ctl(ADD)" : "epoll_ctl", fd, HERE);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return next(epoll, what, fd, event);
}

int setsockopt(int fd, int level, int option, const void *from, socklen_t size)
{
    NEXT(setsockopt, int, (int, int, int, const void *, socklen_t));
    int is_linger = level == SOL_SOCKET && option == SO_LINGER;
    int error = fault(is_linger ? "setsockopt(SO_LINGER)" : "setsockopt", fd, HERE);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return next(fd, level, option, from, size);
}

/* Threads, and what has no function of its own. */

RETURNS(pthread_create,
        (pthread_t * thread, const pthread_attr_t *attributes, void *(*start)(void *),
         void *argument),
        (thread, attributes, start, argument), -1)

long syscall(long number, ...)
{
    long a[6];
    char name[24];
    va_list rest;
    va_start(rest, number);
    for (int index = 0; index < 6; index++)
        a[index] = va_arg(rest, long);
    va_end(rest);
    find_syscall();
    switch (number) {
    case SYS_close:
        strcpy(name, "close");
        break;
    case SYS_statx:
        strcpy(name, "statx");
        break;
    default:
        snprintf(name, sizeof name, "syscall(%ld)", number);
    }
    int error = fault(name, number == SYS_close ? (int)a[0] : -1, HERE);
    if (error > 0) {
        if (number == SYS_close)
            real_syscall(number, a[0]);
        errno = error;
        return -1;
    }
    return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
