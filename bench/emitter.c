/* An agent that costs next to nothing: bench/daemon.py compiles it.
 *
 *   emitter HELLO TEMPLATE INTERVAL_S CHANGING
 *
 * Prints the line in HELLO and then, every INTERVAL_S seconds, the line in TEMPLATE with its first '@' replaced by
 * a number that counts up and every further one by the time. With CHANGING 0 it prints a heartbeat instead, but
 * for the first. A line on stdin is answered with TEMPLATE at once; the end of stdin ends it.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static char *template;
static long seq;

static double now(void) {
    struct timeval t;
    gettimeofday(&t, NULL);
    return t.tv_sec + t.tv_usec / 1e6;
}

static char *contents(const char *path) {
    static char buffer[2][1 << 20];
    static int used;
    char *into = buffer[used++];
    FILE *file = fopen(path, "r");
    if (!file) exit(2);
    into[fread(into, 1, sizeof buffer[0] - 1, file)] = 0;
    fclose(file);
    return into;
}

static void snapshot(void) {
    double at = now();
    char *from = template, *mark;
    int number = 0;
    seq++;
    while ((mark = strchr(from, '@'))) {
        fwrite(from, 1, mark - from, stdout);
        if (number++) printf("%.6f", at);
        else printf("%ld", seq);
        from = mark + 1;
    }
    fputs(from, stdout);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    double interval = atof(argv[3]), due = now();
    int changing = atoi(argv[4]);
    fputs(contents(argv[1]), stdout);
    template = contents(argv[2]);
    for (;;) {
        double wait = due - now();
        struct pollfd in = {0, POLLIN, 0};
        if (wait > 0 && poll(&in, 1, wait * 1000 + 1) > 0) {
            char commands[4096];
            if (read(0, commands, sizeof commands) <= 0) return 0;
            snapshot();
            continue;
        }
        if (wait > 0) continue;
        if (changing || !seq) snapshot();
        else {
            printf("{\"type\":\"heartbeat\",\"seq\":%ld,\"now\":%.6f}\n", ++seq, now());
            fflush(stdout);
        }
        if (ferror(stdout)) return 1;
        due += interval;
    }
}
