package sandbox

import (
	"os"
	"slices"
	"strconv"
	"strings"
)

// ownDirs are the top-level directories that the sandbox has of its own: nothing below them is shown.
var ownDirs = []string{"/proc", "/sys", "/dev", "/run", "/tmp"}

// noFiles are file systems that show a kernel's or a daemon's state rather than files.
var noFiles = []string{
	"proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "mqueue", "debugfs", "tracefs", "securityfs", "pstore", "bpf", "configfs",
	"fusectl", "autofs", "binfmt_misc", "nsfs", "rpc_pipefs", "nfsd", "hugetlbfs", "efivarfs", "selinuxfs",
}

// maxLayers bounds the mounts that are shown; each is an overlay.
const maxLayers = 128

// mount is one of the host's mounts.
type mount struct {
	at    string
	files bool // it is a file system with files
}

// hostMounts lists the host's mounts.
func hostMounts() ([]mount, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(string(text)), nil
}

// parseMounts reads a mountinfo (proc(5)).
func parseMounts(mountinfo string) (all []mount) {
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(line, " - ")
		fields, kind := strings.Fields(left), strings.Fields(right)
		if ok && len(fields) >= 6 && len(kind) > 0 && strings.HasPrefix(fields[4], "/") {
			all = append(all, mount{unescape(fields[4]), !slices.Contains(noFiles, kind[0])})
		}
	}
	return all
}

// own says whether a path belongs to the directories that the sandbox has of its own.
func own(path string) bool {
	return slices.ContainsFunc(ownDirs, func(d string) bool { return path == d || strings.HasPrefix(path, d+"/") })
}

// layers picks the directories that an overlay each is needed for, since an overlay does not reach into what is
// mounted below its lower directory. Parents come before what is in them.
func layers(mounts []mount) []string {
	found := []string{"/"}
	for _, m := range mounts {
		if m.files && !own(m.at) && !slices.Contains(found, m.at) {
			found = append(found, m.at)
		}
	}
	slices.Sort(found)
	return found
}

// covered says whether something is mounted below dir.
func covered(mounts []mount, dir string) bool {
	prefix := strings.TrimSuffix(dir, "/") + "/"
	return slices.ContainsFunc(mounts, func(m mount) bool { return m.at != dir && strings.HasPrefix(m.at, prefix) })
}

// unescape undoes the octal escapes of proc(5).
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// overlayOptions are the options of one overlay; paths are escaped as overlayfs wants it.
func overlayOptions(lower, upper, work string, unprivileged bool) string {
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`).Replace
	o := "lowerdir=" + escape(lower) + ",upperdir=" + escape(upper) + ",workdir=" + escape(work)
	if unprivileged {
		o += ",userxattr"
	}
	return o
}
