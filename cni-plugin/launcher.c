// The CNI plugin for hosts that want the milliseconds which Node.js takes to start: takes its call to the agent and prints
// what the agent answers, exactly as main.ts does. What both say to the agent is in docs/cni-protocol.md.
//     cc -std=c11 -O2 -Wall -Wextra -Werror -o holdfast launcher.c        (-static where a libc for that is installed)
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX_VARIABLES = 64 * 1024, MAX_STDIN = 1024 * 1024, MAX_ANSWER = 1024 * 1024, MAX_HEAD = 64 };
// CNI specification 1.1.0, section 5.
enum { INVALID_ENVIRONMENT = 4, IO_FAILURE = 5, INVALID_CONFIG = 7, TRY_AGAIN_LATER = 11 };

#define AWAY "holdfast UNAVAILABLE: the agent does not answer; try again later, and see that \\\"holdfast agent\\\" runs"

#ifdef HOLDFAST_MARK
// Tells holdfast install and doctor from which source this was compiled.
__attribute__((used)) static const char mark[] = HOLDFAST_MARK;
#endif

static char version[12] = "1.1.0";
static const char *path = "/run/holdfast/cni.sock";
static volatile sig_atomic_t late;

static void on_alarm(int number) {
  (void)number;
  late = 1;
}

/** All of the bytes; false after an error, or when time is up. */
static bool write_all(int file, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t written = write(file, bytes, length);
    if (written < 0 && (errno != EINTR || late)) return false;
    if (written < 0) continue;
    bytes += written;
    length -= (size_t)written;
  }
  return true;
}

/** One read of at most so many bytes: how many, 0 at the end, -1 after an error or when time is up. */
static ssize_t read_some(int file, char *bytes, size_t most) {
  for (;;) {
    ssize_t length = read(file, bytes, most);
    if (length >= 0 || errno != EINTR || late) return length;
  }
}

/** Prints an error in CNI's JSON and ends. The message is JSON already, `where` and `why` are not. */
_Noreturn static void fail(int code, const char *message, const char *where, const char *why) {
  char text[2048];
  int head = snprintf(text, 1024, "{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":\"%s\"", version, code, message);
  size_t length = head < 0 ? 0 : (size_t)head;
  char raw[256];
  snprintf(raw, sizeof raw, "%s%s%s", where, *where == '\0' ? "" : ": ", why);
  if (*raw != '\0') length += (size_t)sprintf(text + length, ",\"details\":\"");
  for (const unsigned char *byte = (const unsigned char *)raw; *byte != '\0'; byte++) {
    if (*byte == '"' || *byte == '\\') text[length++] = '\\';
    text[length++] = *byte < 0x20 || *byte > 0x7e ? '?' : (char)*byte;
  }
  length += (size_t)sprintf(text + length, *raw == '\0' ? "}" : "\"}");
  write_all(STDOUT_FILENO, text, length);
  _exit(1);
}

_Noreturn static void fail_away(const char *why) {
  fail(TRY_AGAIN_LATER, AWAY, path, late ? "no answer in time" : why);
}

/** Three numbers of one to three digits. */
static bool is_version(const char *text, size_t length) {
  int dots = 0, digits = 0;
  for (size_t i = 0; i < length; i++) {
    if (text[i] >= '0' && text[i] <= '9') {
      if (++digits > 3) return false;
    } else if (text[i] == '.' && digits > 0) {
      dots++, digits = 0;
    } else {
      return false;
    }
  }
  return dots == 2 && digits > 0;
}

static size_t skip_space(const char *json, size_t length, size_t at) {
  while (at < length && strchr(" \t\r\n", json[at]) != NULL && json[at] != '\0') at++;
  return at;
}

/** The place of the quote that closes the string, or the length where there is none. */
static size_t end_of_string(const char *json, size_t length, size_t at) {
  while (at < length && json[at] != '"') at += json[at] == '\\' ? 2 : 1;
  return at < length ? at : length;
}

/** The version that an answer must be in: that of the outermost object, the last if there are several. */
static void find_version(const char *json, size_t length) {
  static const char key[] = "cniVersion";
  int depth = 0;
  for (size_t at = 0; at < length; at++) {
    if (json[at] == '{' || json[at] == '[') depth++;
    if (json[at] == '}' || json[at] == ']') depth--;
    if (json[at] != '"') continue;
    size_t start = at + 1;
    at = end_of_string(json, length, start);
    if (depth != 1 || at - start != strlen(key) || memcmp(json + start, key, strlen(key)) != 0) continue;
    size_t colon = skip_space(json, length, at + 1);
    if (colon >= length || json[colon] != ':') continue;
    size_t value = skip_space(json, length, colon + 1);
    strcpy(version, "1.1.0");
    if (value >= length || json[value] != '"') continue;
    at = end_of_string(json, length, value + 1);
    size_t size = at - value - 1;
    if (at == length || size >= sizeof version || !is_version(json + value + 1, size)) continue;
    memcpy(version, json + value + 1, size);
    version[size] = '\0';
  }
}

/** Copies the variables of CNI, each with its closing NUL byte. */
static size_t copy_variables(char *to) {
  size_t length = 0;
  for (char **variable = environ; *variable != NULL; variable++) {
    if (strncmp(*variable, "CNI_", 4) != 0 || strchr(*variable, '=') == NULL) continue;
    size_t size = strlen(*variable) + 1;
    if (size > MAX_VARIABLES - length) {
      fail(INVALID_ENVIRONMENT, "holdfast INVALID_REQUEST: CNI_… have more than 65536 bytes", "", "");
    }
    memcpy(to + length, *variable, size);
    length += size;
  }
  return length;
}

static size_t read_stdin(char *to) {
  size_t length = 0;
  for (;;) {
    ssize_t more = read_some(STDIN_FILENO, to + length, MAX_STDIN + 1 - length);
    if (more == 0) return length;
    if (more < 0 && late) fail_away("");
    if (more < 0) fail(IO_FAILURE, "holdfast HOST_FAILURE: cannot read standard input", "", strerror(errno));
    length += (size_t)more;
    if (length > MAX_STDIN) {
      fail(INVALID_CONFIG, "holdfast INVALID_REQUEST: the network configuration has more than 1048576 bytes", "", "");
    }
  }
}

static int connect_agent(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, path); // Its length was checked.
  int agent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (agent < 0) fail_away(strerror(errno));
  while (connect(agent, (struct sockaddr *)&address, sizeof address) != 0) {
    if (errno != EINTR || late) fail_away(strerror(errno));
  }
  return agent;
}

/** Reads `<exit status> <length>\n` and as many bytes; prints them and ends. */
_Noreturn static void pass_answer(int agent) {
  static char answer[MAX_HEAD + MAX_ANSWER + 1];
  size_t length = 0;
  for (;;) {
    ssize_t more = read_some(agent, answer + length, sizeof answer - 1 - length);
    if (more <= 0) fail_away("the connection closed before the answer was complete");
    length += (size_t)more;
    answer[length] = '\0';
    unsigned status, size;
    int head = 0;
    if (sscanf(answer, "%3u %7u%n", &status, &size, &head) != 2 || answer[head] != '\n') continue;
    if (status > 255 || size > MAX_ANSWER) fail_away("the answer is none");
    size_t start = (size_t)head + 1;
    if (length - start >= size) _exit(write_all(STDOUT_FILENO, answer + start, size) ? (int)status : 1);
  }
}

int main(void) {
  static char variables[MAX_VARIABLES], input[MAX_STDIN + 1];
  // A socket must not become standard output because the runtime gave none.
  for (int file = 0; file <= STDERR_FILENO; file++) {
    if (fcntl(file, F_GETFD) < 0 && open("/dev/null", O_RDWR) != file) _exit(1);
  }
  const char *chosen = getenv("HOLDFAST_CNI_SOCKET");
  if (chosen != NULL && *chosen != '\0') path = chosen;
  if (strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path) {
    fail(INVALID_ENVIRONMENT, "holdfast INVALID_REQUEST: HOLDFAST_CNI_SOCKET is longer than 107 bytes", "", "");
  }
  const char *limit = getenv("HOLDFAST_CNI_TIMEOUT");
  size_t digits = limit == NULL ? 0 : strspn(limit, "0123456789");
  bool usable = digits > 0 && digits <= 4 && limit[digits] == '\0' && *limit != '0';
  // The signal interrupts what waits, and comes again in case it came just before the waiting began.
  struct itimerval timer = {.it_value.tv_sec = usable ? atoi(limit) : 100, .it_interval.tv_usec = 100000};
  struct sigaction alarm_action = {.sa_handler = on_alarm}, ignore = {.sa_handler = SIG_IGN};
  sigset_t alarm_signal;
  sigemptyset(&alarm_signal);
  sigaddset(&alarm_signal, SIGALRM);
  if (sigaction(SIGALRM, &alarm_action, NULL) != 0 || sigaction(SIGPIPE, &ignore, NULL) != 0 ||
      sigprocmask(SIG_UNBLOCK, &alarm_signal, NULL) != 0 || setitimer(ITIMER_REAL, &timer, NULL) != 0) {
    fail(IO_FAILURE, "holdfast HOST_FAILURE: cannot set a timer", "", strerror(errno));
  }
  size_t input_length = read_stdin(input);
  find_version(input, input_length);
  const char *command = getenv("CNI_COMMAND");
  if (command != NULL && strcmp(command, "VERSION") == 0) {
    char text[128];
    int length = snprintf(text, sizeof text, "{\"cniVersion\":\"%s\",\"supportedVersions\":[%s]}", version,
                          "\"0.4.0\",\"1.0.0\",\"1.1.0\"");
    _exit(write_all(STDOUT_FILENO, text, (size_t)length) ? 0 : 1);
  }
  size_t variables_length = copy_variables(variables);
  char head[MAX_HEAD];
  int head_length = snprintf(head, sizeof head, "holdfast-cni/1 %zu %zu\n", variables_length, input_length);
  int agent = connect_agent();
  // An agent that takes no more has answered already, or is away: the answer tells.
  if (write_all(agent, head, (size_t)head_length) && write_all(agent, variables, variables_length)) {
    write_all(agent, input, input_length);
  }
  pass_answer(agent);
}
