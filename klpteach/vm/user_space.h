// SPDX-License-Identifier: MIT
/*
 * What a distribution's user space does around the system calls, for agent.c: modprobe, which loads what a module needs
 * first, and for the proposal split-per-object what lies on disk and the hook that such a kernel calls. Files it reads:
 *   /depends    NAME NEEDED …, what depmod would have written; ~NEEDED is loaded by half (proposal half-loaded)
 *   /options    NAME PARAMETERS, as in modprobe.d
 *   /parts      KEY NAME REPLACE LABEL FILE MODULE, one part a line, in the order of the livepatch's objects
 * and keeps, since the hook is a process of its own:
 *   /installed  NAME KEY ENABLED PARAMETERS, oldest first
 *   /dropped    KEY LABEL: put out of force by a newer livepatch with replace
 *   /hold       while it is there, the hook waits: user space may be slow, and a story says for how long
 */

/* -- modprobe -------------------------------------------------------------------------------------------------------- */

/* The rest of the line of a file that begins with NAME and a blank, or NULL. */
static char *line_of(const char *path, const char *name)
{
	char *text = slurp(path, NULL), *save = NULL, *found = NULL;
	size_t length = strlen(name);

	for (char *row = text ? strtok_r(text, "\n", &save) : NULL; row && !found; row = strtok_r(NULL, "\n", &save))
		if (!strncmp(row, name, length) && row[length] == ' ')
			found = strdup(row + length + 1);
	free(text);
	return found;
}

#define MODULE_INIT_HALF 8	/* a flag of finit_module() that only a kernel with the proposal half-loaded knows */

/* First what it needs; nothing where it is loaded, and by half where it waits. */
static long modprobe(const char *name, int half, const char *parameters)
{
	char path[256], *needs, *save = NULL, *options;
	long result = 0;

	snprintf(path, sizeof(path), "/sys/module/%s/initstate", name);
	needs = slurp(path, NULL);
	if (needs && (half || strncmp(needs, "half", 4)))
		return 0;
	snprintf(path, sizeof(path), "/ko/%s.ko", name);
	if (access(path, F_OK))
		return -ENOENT;
	needs = line_of("/depends", name);
	for (char *need = needs ? strtok_r(needs, " ", &save) : NULL; need && !result; need = strtok_r(NULL, " ", &save))
		result = modprobe(need + (*need == '~'), *need == '~', "");
	free(needs);
	if (result)
		return result;
	options = line_of("/options", name);
	if (!options)
		options = strdup(parameters);
	if (half) {
		int fd = open(path, O_RDONLY);

		note_load(strrchr(path, '/') + 1);
		result = fd < 0 ? -errno : syscall(SYS_finit_module, fd, options, MODULE_INIT_HALF) ? -errno : 0;
		close(fd);
	} else {
		snprintf(path, sizeof(path), "%s.ko", name);
		result = insmod(path, options);
	}
	free(options);
	return result;
}

/* -- split-per-object ------------------------------------------------------------------------------------------------ */

struct part { char key[96], name[64], label[64], file[128], module[96]; int replace; };
struct installed { char name[64], key[96], parameters[128]; int enabled; };

static int parts_of(const char *key, struct part *parts, int room)
{
	char *text = slurp("/parts", NULL), *dropped = slurp("/dropped", NULL), *save = NULL;
	int count = 0;

	for (char *row = text ? strtok_r(text, "\n", &save) : NULL; row && count < room; row = strtok_r(NULL, "\n", &save)) {
		struct part *p = parts + count;
		char gone[200];

		if (sscanf(row, "%95s %63s %d %63s %127s %95s", p->key, p->name, &p->replace, p->label, p->file, p->module) != 6)
			continue;
		snprintf(gone, sizeof(gone), "%s %s\n", p->key, p->label);
		if (!strcmp(p->key, key) && !(dropped && strstr(dropped, gone)))
			count++;
	}
	free(text);
	free(dropped);
	return count;
}

static int read_installed(struct installed *all, int room)
{
	char *text = slurp("/installed", NULL), *save = NULL;
	int count = 0;

	for (char *row = text ? strtok_r(text, "\n", &save) : NULL; row && count < room; row = strtok_r(NULL, "\n", &save)) {
		struct installed *i = all + count;

		i->parameters[0] = 0;
		if (sscanf(row, "%63s %95s %d %127[^\n]", i->name, i->key, &i->enabled, i->parameters) >= 3)
			count++;
	}
	free(text);
	return count;
}

static void write_installed(struct installed *all, int count)
{
	FILE *file = fopen("/installed", "w");

	for (int i = 0; file && i < count; i++)
		if (all[i].name[0])
			fprintf(file, "%s %s %d %s\n", all[i].name, all[i].key, all[i].enabled, all[i].parameters);
	if (file)
		fclose(file);
}

static int find_installed(struct installed *all, int count, const char *name)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(all[i].name, name))
			return i;
	return -1;
}

static int module_is_there(const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "/sys/module/%s/initstate", name);
	return !access(path, F_OK);
}

static int module_is_live(const char *name)
{
	char path[200], *text;
	int live;

	snprintf(path, sizeof(path), "/sys/module/%s/initstate", name);
	text = slurp(path, NULL);
	live = text && !strncmp(text, "live", 4);
	free(text);
	return live;
}

static int patch_is_there(const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), "/sys/kernel/livepatch/%s", name);
	return !access(path, F_OK);
}

static void unload_part(const char *module)
{
	char path[200];

	snprintf(path, sizeof(path), "/sys/kernel/livepatch/%s/enabled", module);
	if (patch_is_there(module) && !echo("0", path))
		for (int i = 0; i < 25 && patch_is_there(module); i++)
			usleep(100000);
	for (int i = 0; i < 10 && rmmod(module) == -EAGAIN; i++)	/* its last reference is given back by a worker */
		usleep(100000);
}

/* What is installed anew has all its parts again. */
static void forget_dropped(const char *key)
{
	char *text = slurp("/dropped", NULL), *save = NULL;
	FILE *file = text ? fopen("/dropped", "w") : NULL;
	size_t length = strlen(key);

	for (char *row = file ? strtok_r(text, "\n", &save) : NULL; row; row = strtok_r(NULL, "\n", &save))
		if (strncmp(row, key, length) || row[length] != ' ')
			fprintf(file, "%s\n", row);
	if (file)
		fclose(file);
	free(text);
}

/* FILE.ko and NAME are one key of /parts. */
static void without_suffix(char *key, size_t room, const char *file)
{
	snprintf(key, room, "%s", file);
	if (strlen(key) > 3 && !strcmp(key + strlen(key) - 3, ".ko"))
		key[strlen(key) - 3] = 0;
}

static long split_install(const char *file, const char *parameters)
{
	char key[96];
	struct installed all[32];
	struct part parts[16], old[16];
	int count = read_installed(all, 31), n;
	long result = 0;
	FILE *dropped;

	without_suffix(key, sizeof(key), file);
	for (int i = 0; i < count; i++)
		if (!strcmp(all[i].key, key))
			return -EEXIST;
	forget_dropped(key);
	n = parts_of(key, parts, 16);
	if (find_installed(all, count, parts[0].name) >= 0)
		return -EEXIST;
	for (int i = 0; i < n && !result; i++)
		if (!strcmp(parts[i].label, "vmlinux") || module_is_live(parts[i].label))
			result = insmod(parts[i].file, parameters);
	if (result) {
		for (int i = 0; i < n; i++)
			if (module_is_there(parts[i].module))
				unload_part(parts[i].module);
		return result;
	}
	if (parts[0].replace) {
		dropped = fopen("/dropped", "a");
		for (int i = 0; i < count; i++) {
			int m = parts_of(all[i].key, old, 16);

			for (int j = 0; j < m; j++)
				for (int k = 0; k < n; k++)
					if (!strcmp(old[j].label, parts[k].label)) {
						fprintf(dropped, "%s %s\n", old[j].key, old[j].label);
						if (module_is_there(old[j].module) && !patch_is_there(old[j].module))
							unload_part(old[j].module);
					}
		}
		fclose(dropped);
	}
	snprintf(all[count].name, sizeof(all[count].name), "%s", parts[0].name);
	snprintf(all[count].key, sizeof(all[count].key), "%s", key);
	snprintf(all[count].parameters, sizeof(all[count].parameters), "%s", parameters);
	all[count].enabled = 1;
	write_installed(all, count + 1);
	return 0;
}

static long split_remove(const char *name)	/* 1: none of ours */
{
	struct installed all[32];
	struct part parts[16];
	int count = read_installed(all, 32), i = find_installed(all, count, name), n;
	long result = 0;

	if (i < 0)
		return 1;
	n = parts_of(all[i].key, parts, 16);
	if (all[i].enabled && n)
		return -EAGAIN;
	for (int j = 0; j < n && !result; j++)
		if (module_is_there(parts[j].module))
			result = rmmod(parts[j].module);
	if (!result) {
		all[i].name[0] = 0;
		write_installed(all, count);
	}
	return result;
}

/* echo VALUE > /sys/kernel/livepatch/NAME/enabled or /sys/module/NAME/parameters/KEY */
static long split_echo(const char *value, const char *path)
{
	char name[64], rest[128], parameter[64], target[256];
	struct installed all[32];
	struct part parts[16];
	int count = read_installed(all, 32), i, n;
	long result = 0;

	if (sscanf(path, "/sys/kernel/livepatch/%63[^/]/%127s", name, rest) == 2 && !strcmp(rest, "enabled")) {
		i = find_installed(all, count, name);
		if (i < 0)
			return 1;
		n = parts_of(all[i].key, parts, 16);
		for (int j = 0; j < n && !result; j++)
			if (module_is_there(parts[j].module)) {
				snprintf(target, sizeof(target), "/sys/kernel/livepatch/%s/enabled", parts[j].module);
				result = echo(value, target);
			}
		all[i].enabled = value[0] == '1';
		write_installed(all, count);
		return result;
	}
	if (sscanf(path, "/sys/module/%63[^/]/parameters/%63s", name, parameter) == 2) {
		i = find_installed(all, count, name);
		if (i < 0)
			return 1;
		snprintf(all[i].parameters, sizeof(all[i].parameters), "%s=%s", parameter, value);
		write_installed(all, count);
		n = parts_of(all[i].key, parts, 16);
		for (int j = 0; j < n; j++)
			if (module_is_there(parts[j].module)) {
				snprintf(target, sizeof(target), "/sys/module/%s/parameters/%s", parts[j].module, parameter);
				result = echo(value, target);
			}
		return result;
	}
	return 1;
}

static int is_split(const char *file)
{
	char *text = slurp("/parts", NULL), *save = NULL, key[96];
	size_t length;
	int found = 0;

	without_suffix(key, sizeof(key), file);
	length = strlen(key);
	for (char *row = text ? strtok_r(text, "\n", &save) : NULL; row; row = strtok_r(NULL, "\n", &save))
		found |= !strncmp(row, key, length) && row[length] == ' ';
	free(text);
	return found;
}

/* The hook; its exit status is the errno. */
static int hook(const char *what, const char *name)
{
	struct installed all[32];
	int count = read_installed(all, 32), chosen = 0;
	struct part parts[16], mine[32];
	char parameters[32][128];
	long result = 0;

	if (!strcmp(what, "going")) {
		char *text = slurp("/parts", NULL), *save = NULL;
		for (char *row = text ? strtok_r(text, "\n", &save) : NULL; row; row = strtok_r(NULL, "\n", &save)) {
			char label[64], module[96];

			if (sscanf(row, "%*s %*s %*d %63s %*s %95s", label, module) == 2 && !strcmp(label, name) && patch_is_there(module))
				unload_part(module);
		}
		return 0;
	}
	for (int i = 0; i < count; i++) {
		int n = all[i].enabled ? parts_of(all[i].key, parts, 16) : 0;

		for (int j = 0; j < n; j++)
			if (!strcmp(parts[j].label, name)) {
				mine[chosen] = parts[j];
				strcpy(parameters[chosen++], all[i].parameters);
			}
	}
	while (chosen && !access("/hold", F_OK))	/* user space may be slow: a story says for how long */
		usleep(50000);
	for (int i = 0; i < chosen && !result; i++) {
		result = insmod(mine[i].file, parameters[i]);
		if (result)
			while (--i >= 0)
				unload_part(mine[i].module);
		if (result)
			break;
	}
	return -result;
}
