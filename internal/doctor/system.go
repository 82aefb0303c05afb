package doctor

import (
	"io/fs"
	"strconv"
	"strings"
	"syscall"

	"github.com/vpclab/vpclab/api/agent"
)

// Trial is something that is tried for real, in a child process with namespaces of its own.
type Trial string

const (
	// UserNamespace makes a user and a network namespace and sets the loopback device up in it.
	UserNamespace Trial = "user namespace"
	// TAP makes a TAP in a network namespace of its own.
	TAP Trial = "tap"
	// UserTAP is TAP in a user namespace.
	UserTAP Trial = "tap in a user namespace"
	// Overlay mounts an overlay over the root directory, in a mount namespace of its own.
	Overlay Trial = "overlay"
	// UserOverlay mounts one over /usr, in a user namespace.
	UserOverlay Trial = "overlay in a user namespace"
)

// TrialError is what stopped a trial.
type TrialError struct {
	What  string // "set lo up: operation not permitted"
	Errno syscall.Errno
}

func (e *TrialError) Error() string { return e.What }

// Unwrap gives the kernel's error.
func (e *TrialError) Unwrap() error { return e.Errno }

// System is what the checks ask of a machine.
type System interface {
	OS() string   // as runtime.GOOS
	Arch() string // as runtime.GOARCH
	UID() int     // effective
	Getenv(name string) string
	ReadFile(path string) (string, error)
	Mode(path string) (fs.FileMode, error)
	// Open opens a device for reading and writing and closes it again.
	Open(path string) error
	LookPath(program string) (string, error)
	Try(Trial) error
	Socket(dataDir string) (agent.Placement, error)
}

// Capabilities, as in linux/capability.h.
const (
	capNetAdmin = 12
	capNetRaw   = 13
	capSysAdmin = 21
)

// look finds the facts that several checks want.
func look(s System) facts {
	f := facts{linux: s.OS() == "linux", darwin: s.OS() == "darwin", root: s.UID() == 0}
	if !f.linux {
		return f
	}
	m := &machine{System: s}
	release := m.line("/proc/sys/kernel/osrelease")
	switch {
	case strings.Contains(release, "Microsoft"): // 4.4.0-19041-Microsoft
		f.wsl = 1
	case strings.Contains(release, "microsoft"): // 5.15.90.1-microsoft-standard-WSL2
		f.wsl = 2
	}
	f.container = containerOf(m)
	f.distro = osRelease(m)["ID"] + " " + osRelease(m)["ID_LIKE"]
	status, _ := s.ReadFile("/proc/self/status")
	for line := range strings.Lines(status) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			f.caps, _ = strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		}
	}
	return f
}

// containerOf names what kind of container this is, "" outside of one.
func containerOf(m *machine) string {
	switch {
	case m.exists("/.dockerenv"):
		return "docker"
	case m.exists("/run/.containerenv"):
		return "podman"
	case m.Getenv("KUBERNETES_SERVICE_HOST") != "":
		return "kubernetes"
	}
	if name := m.line("/run/systemd/container"); name != "" {
		return name
	}
	return m.Getenv("container")
}

// privileged says whether this process may do what root may, as far as it is needed here.
func (m *machine) privileged() bool { return len(m.missingCaps()) == 0 }

// missingCaps names the capabilities that root would have and this process has not.
func (m *machine) missingCaps() (names []string) {
	for _, c := range []struct {
		bit  int
		name string
	}{{capNetAdmin, "CAP_NET_ADMIN"}, {capNetRaw, "CAP_NET_RAW"}, {capSysAdmin, "CAP_SYS_ADMIN"}} {
		if m.caps&(1<<c.bit) == 0 {
			names = append(names, c.name)
		}
	}
	return names
}

func (m *machine) exists(path string) bool {
	_, err := m.Mode(path)
	return err == nil
}

// line gives a file's text without the final line feed, "" if it cannot be read.
func (m *machine) line(path string) string {
	text, err := m.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(text)
}

// osRelease reads os-release(5).
func osRelease(m *machine) map[string]string {
	out := map[string]string{}
	text, err := m.ReadFile("/etc/os-release")
	if err != nil {
		text, _ = m.ReadFile("/usr/lib/os-release")
	}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			out[key] = strings.Trim(value, `"'`)
		}
	}
	return out
}

// sudo puts sudo before each command of a chain, unless root asks.
func (m *machine) sudo(commands ...string) string {
	if !m.root {
		for i, c := range commands {
			commands[i] = "sudo " + c
		}
	}
	return strings.Join(commands, " && ")
}
