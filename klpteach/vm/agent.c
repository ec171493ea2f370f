// SPDX-License-Identifier: MIT
/*
 * The first process of the guest: runs the commands of a story one by one and, after each, writes one line of JSON
 * with what can be seen: the errno of the system call, new kernel messages, the module table, livepatch's files in
 * sysfs, sections, the modules' own rows of kallsyms, and the bytes of every relocation site.
 *
 * It interprets nothing: files are sent as they are, the host takes them apart. Files it finds in the initramfs:
 *   /story   one command a line; a leading '~' means: do not look afterwards
 *   /sites   one site a line: MODULE SECTION OFFSET WIDTH (offset in hex)
 *   /stubs   one table a line: MODULE SECTION BYTES; so many from the section's start are read, or, where SECTION is -,
 *            from the start of the module's memory
 *   /names   ppc64le, one symbol of the kernel itself a line, whose row of kallsyms is wanted as well
 *   /ko/     the module files
 * and those of user_space.h, where a kernel with a proposal in it wants more of user space.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static FILE *out;			/* the second serial port */
static int kmsg, kcore = -1;
static int wrecked;			/* the kernel has oopsed: a dead task may hold klp_mutex, which a file of sysfs wants */
static int hung;			/* the last command did not come back */

#define PATIENCE (15 * 1000)		/* milliseconds that a command may take */

/* -- JSON, as little as is needed ---------------------------------------------------------------------------------- */

static void quoted(const char *text, size_t length)
{
	fputc('"', out);
	for (size_t i = 0; i < length; i++) {
		unsigned char c = text[i];

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20 || c > 0x7e)
			fprintf(out, "\\u%04x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void string(const char *text) { quoted(text, strlen(text)); }

/* -- files ---------------------------------------------------------------------------------------------------------- */

/* All that can be read, in large pieces: some files of sysfs want to be read at once. */
static char *all_of(int fd, size_t *length)
{
	size_t room = 1 << 16, used = 0;
	char *text = malloc(room + 1);
	ssize_t got;

	while ((got = read(fd, text + used, room - used)) > 0) {
		used += got;
		if (room - used < 4096)
			text = realloc(text, (room *= 2) + 1);
	}
	text[used] = 0;
	if (length)
		*length = used;
	return text;
}

/* The whole file. NULL and errno if it cannot be read. */
static char *slurp(const char *path, size_t *length)
{
	int fd = open(path, O_RDONLY);
	char *text = fd < 0 ? NULL : all_of(fd, length);

	if (fd >= 0)
		close(fd);
	return text;
}

static void member_file(const char *key, const char *path)
{
	char *text = slurp(path, NULL);

	if (!text)
		return;
	fputc(',', out);
	string(key);
	fputc(':', out);
	string(text);
	free(text);
}

/* "path": "contents" for every file below a directory, directories as null; depth first. */
static void tree(const char *root, const char *below, int *first)
{
	char path[1100], name[512];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/%s", root, below);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		struct stat st;

		if (entry->d_name[0] == '.' && (!entry->d_name[1] || !strcmp(entry->d_name, "..")))
			continue;
		snprintf(name, sizeof(name), "%s%s%s", below, *below ? "/" : "", entry->d_name);
		snprintf(path, sizeof(path), "%s/%s", root, name);
		if (lstat(path, &st))
			continue;
		fputs(*first ? "" : ",", out);
		*first = 0;
		string(name);
		fputc(':', out);
		if (S_ISDIR(st.st_mode)) {
			fputs("null", out);
			tree(root, name, first);
		} else {
			char *text = slurp(path, NULL);

			string(text ? text : "");
			free(text);
		}
	}
	if (dir)
		closedir(dir);
}

/* -- what is looked at ---------------------------------------------------------------------------------------------- */

static void messages(void)
{
	char record[8192];
	ssize_t length;
	int first = 1;

	fputs(",\"kmsg\":[", out);
	while ((length = read(kmsg, record, sizeof(record))) > 0 || (length < 0 && errno == EPIPE)) {
		if (length < 0)
			continue;
		fputs(first ? "" : ",", out);
		first = 0;
		quoted(record, length);
	}
	fputc(']', out);
}

/* Whether the name that a row ends in is a line of the list. */
static int listed(const char *names, const char *row)
{
	const char *name = strrchr(row, ' ');
	size_t length;

	if (!names || !name)
		return 0;
	length = strlen(++name);
	for (; *names; names += strcspn(names, "\n"), names += *names == '\n')
		if (!strncmp(names, name, length) && names[length] == '\n')
			return 1;
	return 0;
}

/* The rows of modules, which end in a tab and the module's name in brackets, and those of /names. */
static void kallsyms(void)
{
	char *text = slurp("/proc/kallsyms", NULL), *names = slurp("/names", NULL), *save = NULL;
	int first = 1;

	fputs(",\"kallsyms\":[", out);
	for (char *row = text ? strtok_r(text, "\n", &save) : NULL; row; row = strtok_r(NULL, "\n", &save)) {
		size_t length = strlen(row);

		if (!length || strstr(row, "[bpf]") || strstr(row, "[__builtin"))
			continue;
		if (row[length - 1] != ']' && !listed(names, row))
			continue;
		fputs(first ? "" : ",", out);
		first = 0;
		string(row);
	}
	fputc(']', out);
	free(names);
	free(text);
}

static void sections(void)
{
	char *text = slurp("/proc/modules", NULL), *save = NULL;
	int first_module = 1;

	fputs(",\"sections\":{", out);
	for (char *row = text ? strtok_r(text, "\n", &save) : NULL; row; row = strtok_r(NULL, "\n", &save)) {
		char root[256];
		int first = 1;

		row[strcspn(row, " ")] = 0;
		snprintf(root, sizeof(root), "/sys/module/%s/sections", row);
		fputs(first_module ? "" : ",", out);
		first_module = 0;
		string(row);
		fputs(":{", out);
		tree(root, "", &first);
		fputc('}', out);
	}
	fputc('}', out);
	free(text);
}

/* Bytes of kernel memory at an address, through the ELF core that /proc/kcore is. Its segments change with every vmalloc. */
static int kernel_memory(uint64_t address, void *to, size_t length)
{
	Elf64_Ehdr header;

	if (kcore < 0)
		kcore = open("/proc/kcore", O_RDONLY);
	if (pread(kcore, &header, sizeof(header), 0) != sizeof(header))
		return -1;
	for (int i = 0; i < header.e_phnum; i++) {
		Elf64_Phdr segment;

		if (pread(kcore, &segment, sizeof(segment), header.e_phoff + i * sizeof(segment)) != sizeof(segment))
			return -1;
		if (segment.p_type == PT_LOAD && address >= segment.p_vaddr && address + length <= segment.p_vaddr + segment.p_memsz)
			return pread(kcore, to, length, segment.p_offset + address - segment.p_vaddr) == (ssize_t)length ? 0 : -1;
	}
	return -1;
}

static uint64_t section_address(const char *module, const char *section)
{
	char path[512], *text;
	uint64_t address;

	snprintf(path, sizeof(path), "/sys/module/%s/sections/%s", module, section);
	text = slurp(path, NULL);
	address = text ? strtoull(text, NULL, 16) : 0;
	free(text);
	return address;
}

static void sites(void)
{
	char *text = slurp("/sites", NULL), *save = NULL;
	int first = 1;

	fputs(",\"sites\":{", out);
	for (char *row = text ? strtok_r(text, "\n", &save) : NULL; row; row = strtok_r(NULL, "\n", &save)) {
		char module[64], section[128], key[256];
		unsigned char bytes[16];
		unsigned long offset;
		unsigned int width;
		uint64_t base;

		if (sscanf(row, "%63s %127s %lx %u", module, section, &offset, &width) != 4 || width > sizeof(bytes))
			continue;
		base = section_address(module, section);
		if (!base || kernel_memory(base + offset, bytes, width))
			continue;
		snprintf(key, sizeof(key), "%s:%s+0x%lx", module, section, offset);
		fputs(first ? "" : ",", out);
		first = 0;
		string(key);
		fputs(":\"", out);
		for (unsigned int i = 0; i < width; i++)
			fprintf(out, "%02x", bytes[i]);
		fputc('"', out);
	}
	fputc('}', out);
	free(text);
}

/* Where a module's memory begins: the last but one field of its row of /proc/modules. */
static uint64_t module_address(const char *module)
{
	char *text = slurp("/proc/modules", NULL), *save = NULL, name[64];
	uint64_t address = 0;

	for (char *row = text ? strtok_r(text, "\n", &save) : NULL; row; row = strtok_r(NULL, "\n", &save))
		if (sscanf(row, "%63s", name) == 1 && !strcmp(name, module))
			address = strtoull(strstr(row, " 0x") ? strstr(row, " 0x") : "0", NULL, 16);
	free(text);
	return address;
}

/* Tables of stubs or addresses, and what is behind, as far as there is memory to read: 8 bytes at a time. */
static void stubs(void)
{
	char *text = slurp("/stubs", NULL), *save = NULL;
	int first = 1;

	if (!text)
		return;
	fputs(",\"stubs\":{", out);
	for (char *row = strtok_r(text, "\n", &save); row; row = strtok_r(NULL, "\n", &save)) {
		char module[64], section[128];
		unsigned char piece[8];
		unsigned int left;
		uint64_t base;

		if (sscanf(row, "%63s %127s %u", module, section, &left) != 3)
			continue;
		base = strcmp(section, "-") ? section_address(module, section) : module_address(module);
		if (!base)
			continue;
		fputs(first ? "" : ",", out);
		first = 0;
		string(module);
		fputs(":\"", out);
		for (unsigned int size; left; left -= size, base += size) {
			size = left < sizeof(piece) ? left : sizeof(piece);
			if (kernel_memory(base, piece, size))
				break;
			for (unsigned int i = 0; i < size; i++)
				fprintf(out, "%02x", piece[i]);
		}
		fputc('"', out);
	}
	fputc('}', out);
	free(text);
}

static void look(void)
{
	int first = 1;

	member_file("modules", "/proc/modules");
	if (!wrecked) {
		fputs(",\"livepatch\":{", out);
		tree("/sys/kernel/livepatch", "", &first);
		fputc('}', out);
	}
	sections();
	kallsyms();
	sites();
	stubs();
}

/* -- commands --------------------------------------------------------------------------------------------------------- */

/* /loads: what was tried, in order; one command may load several, and each load has its own placement lines. */
static void note_load(const char *file)
{
	FILE *log = fopen("/loads", "a");

	if (log) {
		fprintf(log, "%s\n", file);
		fclose(log);
	}
}

static long insmod(const char *file, const char *parameters)
{
	char path[256];
	size_t length;
	char *image;
	long result;

	snprintf(path, sizeof(path), "/ko/%s", file);
	image = slurp(path, &length);
	if (!image)
		return -errno;
	note_load(file);
	/* The system call itself: tools try another one after a failure, and every message would come twice. */
	result = syscall(SYS_init_module, image, length, parameters);
	result = result ? -errno : 0;
	free(image);
	return result;
}

/* poke MODULE:SECTION+0xOFF HEX: a stranger's write of the number HEX as eight bytes; poke_demo.ko does it. */
static long poke(char *site, const char *hex)
{
	char *section = strchr(site, ':'), *offset = section ? strchr(section, '+') : NULL, parameters[80];
	uint64_t address;

	if (!offset)
		return -EINVAL;
	*section++ = 0;
	*offset++ = 0;
	address = section_address(site, section);
	if (!address)
		return -ENOENT;
	snprintf(parameters, sizeof(parameters), "address=%lu value=%lu", (unsigned long)(address + strtoul(offset, NULL, 16)),
		 strtoul(hex, NULL, 16));
	return insmod("poke_demo.ko", parameters);
}

static long rmmod(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

static long echo(const char *value, const char *path)
{
	int fd = open(path, O_WRONLY);
	long result = fd < 0 ? -errno : 0;

	if (fd >= 0) {
		result = write(fd, value, strlen(value)) < 0 ? -errno : 0;
		close(fd);
	}
	return result;
}

#include "user_space.h"

/* What a file says goes into /out: it is read in a child, since reading may run code that oopses. */
static long cat(const char *path)
{
	char *text = slurp(path, NULL);
	FILE *to = text ? fopen("/out", "w") : NULL;

	if (!to)
		return -errno;
	fputs(text, to);
	fclose(to);
	free(text);
	return 0;
}

/* A transition is over when no patch says 1; a disabled patch is gone when its folder is. At most 2.5 seconds:
 * later the kernel sends signals and says so, and a story may want to see a transition that waits. */
static void settle(const char *gone)
{
	for (int tries = 0; tries < 25; tries++) {
		struct dirent *entry;
		struct stat st;
		int busy = 0;
		DIR *dir = opendir("/sys/kernel/livepatch");

		while (dir && (entry = readdir(dir))) {
			char path[512], *text;

			if (entry->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "/sys/kernel/livepatch/%s/transition", entry->d_name);
			text = slurp(path, NULL);
			busy |= text && text[0] == '1';
			free(text);
			snprintf(path, sizeof(path), "/sys/kernel/livepatch/%s/enabled", entry->d_name);
			text = slurp(path, NULL);
			busy |= text && text[0] == '0';
			free(text);
		}
		if (dir)
			closedir(dir);
		if (!busy && (!gone || stat(gone, &st)))
			return;
		usleep(100000);
	}
}

static int waiting_for = -1;	/* the pipe of a load that was left in the background */
static pid_t waiting_child;

static long do_command(char *words[], int count)
{
	int loads = count >= 2 && (!strcmp(words[0], "insmod") || !strcmp(words[0], "modprobe"));
	long result;

	if (loads && is_split(words[1]))
		return split_install(words[1], count > 2 ? words[2] : "");
	if (count >= 2 && !strcmp(words[0], "insmod"))
		return insmod(words[1], count > 2 ? words[2] : "");
	if (count >= 2 && !strcmp(words[0], "modprobe"))
		return modprobe(words[1], 0, count > 2 ? words[2] : "");
	if (count == 2 && !strcmp(words[0], "rmmod"))
		return (result = split_remove(words[1])) == 1 ? rmmod(words[1]) : result;
	if (count == 3 && !strcmp(words[0], "poke"))
		return poke(words[1], words[2]);
	if (count == 2 && !strcmp(words[0], "cat"))
		return cat(words[1]);
	if (count == 2 && !strcmp(words[0], "fill"))	/* room_demo.ko takes address space, or gives it back */
		return echo(words[1], "/sys/module/room_demo/parameters/take");
	return (result = split_echo(words[1], words[3])) == 1 ? echo(words[1], words[3]) : result;
}

/* Run in a child: where the kernel oopses it kills who asked, where it waits for a lock it waits for good; the story is told on. */
static long in_child(char *words[], int count, char **text, int *oops)
{
	struct pollfd answer;
	int pipefd[2], status, background = count > 1 && !strcmp(words[count - 1], "&");
	long result = -EINTR;
	pid_t child;

	if (count == 2 && !strcmp(words[0], "wait")) {
		unlink("/hold");
		if (waiting_for < 0)
			return 0;
		*oops = read(waiting_for, &result, sizeof(result)) != sizeof(result);
		close(waiting_for);
		waiting_for = -1;
		waitpid(waiting_child, &status, 0);
		return result;
	}
	count -= background;

	if (pipe(pipefd))
		return -errno;
	if (background)
		close(open("/hold", O_CREAT | O_WRONLY, 0600));
	fflush(out);
	child = fork();
	if (!child) {
		result = do_command(words, count);
		if (write(pipefd[1], &result, sizeof(result)) < 0)
			_exit(1);
		_exit(0);
	}
	close(pipefd[1]);
	if (background) {
		struct pollfd one = { .fd = pipefd[0], .events = POLLIN };

		if (poll(&one, 1, 2500) == 0) {		/* it waits for somebody */
			waiting_for = pipefd[0];
			waiting_child = child;
			return 0;
		}
		unlink("/hold");
	}
	answer = (struct pollfd){ .fd = pipefd[0], .events = POLLIN };
	hung = poll(&answer, 1, PATIENCE) == 0;
	*oops = !hung && read(pipefd[0], &result, sizeof(result)) != sizeof(result);
	close(pipefd[0]);
	if (!hung)
		waitpid(child, &status, 0);
	*text = slurp("/out", NULL);
	unlink("/out");
	return result;
}

static void run(char *command, int number)
{
	char copy[512], *words[8], *save = NULL, *text = NULL, gone[512] = "";
	int count = 0, quiet = command[0] == '~', oops = 0;
	long result = 0;

	command += quiet;
	hung = 0;
	snprintf(copy, sizeof(copy), "%s", command);
	for (char *word = strtok_r(copy, " ", &save); word && count < 8; word = strtok_r(NULL, " ", &save))
		words[count++] = word;
	if (count == 1 && !strcmp(words[0], "boot"))
		result = 0;
	else
		result = in_child(words, count, &text, &oops);
	if (!oops && !hung && !result && count == 4 && !strcmp(words[0], "echo")) {
		snprintf(gone, sizeof(gone), "%s", words[3]);
		*strrchr(gone, '/') = 0;
	}
	wrecked |= oops;
	if (!wrecked && !hung)
		settle(*gone ? gone : NULL);
	fprintf(out, "{\"step\":%d,\"command\":", number);
	string(command);
	fprintf(out, ",\"errno\":%ld", result);
	if (oops)
		fputs(",\"oops\":true", out);
	if (hung)
		fputs(",\"hung\":true", out);
	if (text) {
		fputs(",\"out\":", out);
		string(text);
		free(text);
	}
	member_file("loads", "/loads");
	unlink("/loads");
	messages();
	if (quiet)
		fputs(",\"quiet\":true", out);
	else
		look();			/* after an oops, too: what it reads wants no lock that the dead task may hold */
	fputs("}\n", out);
	fflush(out);
}

/* The first of these that can be opened: a machine has its own, and a file in /dev for each that it might have. */
static FILE *second_port(void)
{
	static const char *ports[] = { "/dev/hvc1", "/dev/ttysclp0", "/dev/ttyS1", "/dev/hvc0" };

	int fd = -1;

	for (unsigned int i = 0; fd < 0 && i < sizeof(ports) / sizeof(*ports); i++)
		fd = open(ports[i], O_WRONLY | O_NOCTTY);
	return fd < 0 ? NULL : fdopen(fd, "w");
}

static int tell_story(void)
{
	char *story, *save = NULL;
	int number = 0;

	mkdir("/proc", 0555);
	mkdir("/sys", 0555);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	out = second_port();
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	if (!out)
		out = stdout;
	lseek(kmsg, 0, SEEK_END);		/* what was said before the story is not part of it */
	story = slurp("/story", NULL);
	for (char *line = story ? strtok_r(story, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save))
		run(line, number++);
	fputs("{\"end\":true}\n", out);
	fflush(out);
	tcdrain(fileno(out));
	sync();
	reboot(RB_POWER_OFF);
	return 0;
}

int main(int argc, char *argv[])
{
	if (argc == 3 && (!strcmp(argv[1], "coming") || !strcmp(argv[1], "going")))
		return hook(argv[1], argv[2]);
	return tell_story();
}
