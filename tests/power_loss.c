/* A disk that loses what was not synced, for tests: cc -shared -fPIC -o power_loss.so power_loss.c -ldl, LD_PRELOAD.
 *
 * The least that a file system promises when the power fails:
 *  - A file that was opened for writing and not synced since may be empty under the name it was renamed to. It is
 *    made so at the rename, when the system may first keep the new name without the content.
 *  - A name that was given to a file by a rename, and a folder that was made, may be gone until their folder is
 *    synced. They are taken away when the process ends.
 * A folder that is renamed loses, in the same way, what is in it. What a process loses goes to the file $LOST.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define MOST 65536

typedef struct { dev_t device; ino_t number; } node;
typedef struct { node folder; char path[PATH_MAX]; int made; } name;

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static node dirty[MOST];
static int dirties;
static name *unsure[MOST];
static int unsures;
static int quiet;

static int same(node a, node b) { return a.device == b.device && a.number == b.number; }

static node of(const struct stat *s) { node n = { s->st_dev, s->st_ino }; return n; }

static void say(const char *what, const char *path) {
  const char *file = getenv("LOST");
  if (!file) return;
  FILE *out = fopen(file, "a");
  if (!out) return;
  fprintf(out, "%s %s\n", what, path);
  fclose(out);
}

static int is_dirty(node n) {
  for (int i = 0; i < dirties; i++) if (same(dirty[i], n)) return i + 1;
  return 0;
}

static void soil(int number) {
  struct stat s;
  if (quiet || number < 0 || fstat(number, &s) || !S_ISREG(s.st_mode)) return;
  pthread_mutex_lock(&lock);
  if (!is_dirty(of(&s)) && dirties < MOST) dirty[dirties++] = of(&s);
  pthread_mutex_unlock(&lock);
}

static void doubt(const char *path, int made) {
  char folder[PATH_MAX], whole[PATH_MAX];
  struct stat s;
  if (!realpath(path, whole)) return;
  strcpy(folder, whole);
  char *end = strrchr(folder, '/');
  if (!end) return;
  *end = 0;
  if (stat(*folder ? folder : "/", &s) || unsures >= MOST) return;
  name *one = malloc(sizeof *one);
  one->folder = of(&s);
  one->made = made;
  strcpy(one->path, whole);
  unsure[unsures++] = one;
}

static void empty(const char *path, const struct stat *s) {
  int at = is_dirty(of(s));
  if (!at) return;
  say("empty", path);
  quiet = 1;
  if (truncate(path, 0)) perror(path);
  quiet = 0;
  dirty[at - 1] = dirty[--dirties];
}

static int below(const char *path, const struct stat *s, int type, struct FTW *at) {
  (void)at;
  if (type == FTW_F) empty(path, s);
  return 0;
}

static void renamed(const char *path) {
  struct stat s;
  pthread_mutex_lock(&lock);
  quiet = 1;
  if (!lstat(path, &s)) {
    if (S_ISDIR(s.st_mode)) nftw(path, below, 16, FTW_PHYS);
    else empty(path, &s);
    doubt(path, S_ISDIR(s.st_mode));
  }
  quiet = 0;
  pthread_mutex_unlock(&lock);
}

static int gone(const char *path, const struct stat *s, int type, struct FTW *at) {
  (void)s; (void)type; (void)at;
  return remove(path);
}

/* The power fails. */
static void fail(void) {
  pthread_mutex_lock(&lock);
  quiet = 1;
  while (unsures) {
    name *one = unsure[--unsures];
    if (!access(one->path, F_OK)) {
      say("gone", one->path);
      nftw(one->path, gone, 16, FTW_DEPTH | FTW_PHYS);
    }
  }
  pthread_mutex_unlock(&lock);
}

__attribute__((destructor)) static void ended(void) { fail(); }

static void synced(int number) {
  struct stat s;
  if (fstat(number, &s)) return;
  pthread_mutex_lock(&lock);
  int at = is_dirty(of(&s));
  if (at) dirty[at - 1] = dirty[--dirties];
  if (S_ISDIR(s.st_mode))
    for (int i = unsures - 1; i >= 0; i--)
      if (same(unsure[i]->folder, of(&s))) {
        free(unsure[i]);
        unsure[i] = unsure[--unsures];
      }
  pthread_mutex_unlock(&lock);
}

#define REAL(type, function, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #function))

int fsync(int n) { int r = REAL(int, fsync, int)(n); if (!r) synced(n); return r; }
int fdatasync(int n) { int r = REAL(int, fdatasync, int)(n); if (!r) synced(n); return r; }

int rename(const char *a, const char *b) {
  int r = REAL(int, rename, const char *, const char *)(a, b);
  if (!r) renamed(b);
  return r;
}
int renameat(int x, const char *a, int y, const char *b) {
  int r = REAL(int, renameat, int, const char *, int, const char *)(x, a, y, b);
  if (!r && (y == AT_FDCWD || *b == '/')) renamed(b);
  return r;
}
int mkdir(const char *path, mode_t mode) {
  int r = REAL(int, mkdir, const char *, mode_t)(path, mode);
  if (!r) { pthread_mutex_lock(&lock); doubt(path, 1); pthread_mutex_unlock(&lock); }
  return r;
}

#define OPEN(function)                                                                  \
  int function(const char *path, int flags, ...) {                                      \
    va_list more; va_start(more, flags);                                                \
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0; va_end(more);     \
    int n = REAL(int, function, const char *, int, ...)(path, flags, mode);             \
    if (flags & (O_WRONLY | O_RDWR)) soil(n);                                           \
    return n;                                                                           \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(function)                                                                \
  int function(int folder, const char *path, int flags, ...) {                          \
    va_list more; va_start(more, flags);                                                \
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, int) : 0; va_end(more);     \
    int n = REAL(int, function, int, const char *, int, ...)(folder, path, flags, mode); \
    if (flags & (O_WRONLY | O_RDWR)) soil(n);                                           \
    return n;                                                                           \
  }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int n, const void *data, size_t size) {
  ssize_t r = REAL(ssize_t, write, int, const void *, size_t)(n, data, size);
  if (r > 0) soil(n);
  return r;
}
ssize_t pwrite(int n, const void *data, size_t size, off_t at) {
  ssize_t r = REAL(ssize_t, pwrite, int, const void *, size_t, off_t)(n, data, size, at);
  if (r > 0) soil(n);
  return r;
}
ssize_t pwrite64(int n, const void *data, size_t size, off64_t at) {
  ssize_t r = REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t)(n, data, size, at);
  if (r > 0) soil(n);
  return r;
}
int ftruncate(int n, off_t size) { int r = REAL(int, ftruncate, int, off_t)(n, size); if (!r) soil(n); return r; }
int ftruncate64(int n, off64_t size) {
  int r = REAL(int, ftruncate64, int, off64_t)(n, size);
  if (!r) soil(n);
  return r;
}
