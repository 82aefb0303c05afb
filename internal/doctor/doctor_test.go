package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vpclab/vpclab/api/agent"
)

func TestMain(m *testing.M) {
	ChildMain()
	os.Exit(m.Run())
}

// paper is a machine on paper: what is not named is not there, and what is not in fails works.
type paper struct {
	os, arch string
	uid      int
	env      map[string]string
	files    map[string]string
	modes    map[string]fs.FileMode
	programs []string
	fails    map[string]error // by path opened, or by Trial
	place    agent.Placement
	refused  error // of Socket
	tried    []Trial
}

func (p *paper) OS() string                { return p.os }
func (p *paper) Arch() string              { return p.arch }
func (p *paper) UID() int                  { return p.uid }
func (p *paper) Getenv(name string) string { return p.env[name] }

func (p *paper) ReadFile(path string) (string, error) {
	if text, ok := p.files[path]; ok {
		return text, nil
	}
	return "", &fs.PathError{Op: "open", Path: path, Err: syscall.ENOENT}
}

func (p *paper) Mode(path string) (fs.FileMode, error) {
	if mode, ok := p.modes[path]; ok {
		return mode, nil
	}
	return 0, &fs.PathError{Op: "stat", Path: path, Err: syscall.ENOENT}
}

func (p *paper) Open(path string) error {
	if _, err := p.Mode(path); err != nil {
		return err
	}
	return p.fails[path]
}

func (p *paper) LookPath(name string) (string, error) {
	if slices.Contains(p.programs, name) {
		return "/usr/bin/" + name, nil
	}
	return "", errors.New("not found")
}

func (p *paper) Try(t Trial) error {
	p.tried = append(p.tried, t)
	return p.fails[string(t)]
}

func (p *paper) Socket(string) (agent.Placement, error) { return p.place, p.refused }

const (
	allCaps = "Name:\tvpclab\nCapEff:\t000001ffffffffff\n"
	noCaps  = "Name:\tvpclab\nCapEff:\t0000000000000000\n"
	// docker's default set: CAP_NET_RAW, and neither CAP_NET_ADMIN nor CAP_SYS_ADMIN
	dockerCaps = "CapEff:\t00000000a80425fb\n"
)

// debian is a machine with everything, used by a student.
func debian() *paper {
	return &paper{
		os: "linux", arch: "amd64", uid: 1000,
		files: map[string]string{
			"/etc/os-release":                    "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\n",
			"/proc/sys/kernel/osrelease":         "6.12.1-amd64\n",
			"/proc/self/status":                  noCaps,
			"/proc/cpuinfo":                      "flags : fpu vmx sse\n",
			"/proc/sys/user/max_user_namespaces": "63000\n",
		},
		modes:    map[string]fs.FileMode{tunPath: fs.ModeDevice | 0o666, kvmPath: fs.ModeDevice | 0o660, "/proc/self/ns/user": 0o444},
		programs: []string{"qemu-system-x86_64", "qemu-system-aarch64"},
		fails:    map[string]error{},
		place:    agent.Placement{Socket: "/home/a/.local/state/vpclab/agent.sock"},
	}
}

func asRoot(p *paper) { p.uid, p.files["/proc/self/status"] = 0, allCaps }

func permission(path string) error { return &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES} }

// sketch writes a report in few words: drivers that work with +, others with -; checks that lack something with their command.
func sketch(r *Report) string {
	var words []string
	for _, d := range r.Drivers {
		words = append(words, map[bool]string{true: "+", false: "-"}[d.Works]+d.Name)
	}
	out := strings.Join(words, " ")
	for _, c := range r.Checks {
		if c.State == Lacks {
			out += fmt.Sprintf("; %s: %s", c.Name, c.Command)
		}
	}
	return out
}

var all = map[string]error{"netns": nil, "netstack": nil, "qemu": nil, "tap": nil}

// TestMachines: what each kind of machine allows, and the exact command for what is lacking.
func TestMachines(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *paper)
		want   string // see sketch
		found  string // somewhere in the report
	}{
		"Debian, root":    {asRoot, "+netns +netstack +qemu +tap", "accelerated by KVM"},
		"Debian, student": {func(*paper) {}, "+netns +netstack +qemu -tap", "in a user namespace"},
		"old Debian": {func(p *paper) {
			p.fails[string(UserNamespace)] = syscall.EPERM
			p.files["/proc/sys/kernel/unprivileged_userns_clone"] = "0\n"
		}, "-netns +netstack +qemu -tap; user namespaces: sudo sysctl -w kernel.unprivileged_userns_clone=1", "none can be made: operation not permitted"},
		"no user namespaces left": {func(p *paper) {
			p.fails[string(UserNamespace)] = syscall.ENOSPC
			p.files["/proc/sys/user/max_user_namespaces"] = "0\n"
		}, "-netns +netstack +qemu -tap; user namespaces: sudo sysctl -w user.max_user_namespaces=15000", "no space left"},
		"Ubuntu 24.04": {func(p *paper) {
			p.fails[string(UserNamespace)] = &TrialError{"set lo up: operation not permitted", syscall.EPERM}
			p.files["/proc/sys/kernel/apparmor_restrict_unprivileged_userns"] = "1\n"
		}, "-netns +netstack +qemu -tap; user namespaces: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0", "set lo up: operation not permitted (AppArmor restricts them)"},
		"kernel without user namespaces": {func(p *paper) {
			p.fails[string(UserNamespace)] = syscall.EINVAL
			delete(p.modes, "/proc/self/ns/user")
		}, "-netns +netstack +qemu -tap; user namespaces: ", "CONFIG_USER_NS"},
		"forbidden for no known reason": {func(p *paper) { p.fails[string(UserNamespace)] = syscall.EPERM },
			"-netns +netstack +qemu -tap; user namespaces: ", "look for a chroot"},
		"root needs no user namespaces": {func(p *paper) {
			asRoot(p)
			p.fails[string(UserNamespace)] = syscall.ENOSPC
			p.files["/proc/sys/user/max_user_namespaces"] = "0"
		}, "+netns +netstack +qemu +tap", "root needs none"},
		"TUN not loaded, root": {func(p *paper) { asRoot(p); delete(p.modes, tunPath) }, "-netns +netstack +qemu -tap; TUN device: modprobe tun", "no such file"},
		"TUN not loaded":       {func(p *paper) { delete(p.modes, tunPath) }, "-netns +netstack +qemu -tap; TUN device: sudo modprobe tun", "needs the TUN device"},
		"TUN without its node": {func(p *paper) { delete(p.modes, tunPath); p.modes["/sys/class/misc/tun"] = fs.ModeDir },
			"-netns +netstack +qemu -tap; TUN device: sudo mkdir -p /dev/net && sudo mknod -m 0666 /dev/net/tun c 10 200", "its node is not"},
		"node without its TUN": {func(p *paper) { p.fails[tunPath] = syscall.ENODEV }, "-netns +netstack +qemu -tap; TUN device: sudo modprobe tun", "no such device"},
		"TUN closed": {func(p *paper) { p.modes[tunPath] = 0o600; p.fails[tunPath] = permission(tunPath) },
			"-netns +netstack +qemu -tap; TUN device: sudo chmod 0666 /dev/net/tun", "(mode 0600) cannot be opened: permission denied"},
		"no TAP": {func(p *paper) {
			p.fails[string(UserTAP)] = &TrialError{"make a TAP: operation not permitted", syscall.EPERM}
		},
			"-netns +netstack +qemu -tap; TUN device: ", "no TAP can be made: make a TAP: operation not permitted"},
		"old kernel": {func(p *paper) {
			p.fails[string(UserOverlay)] = &TrialError{"mount an overlay: operation not permitted", syscall.EPERM}
		},
			"+netns +netstack +qemu -tap; overlayfs: sudo vpclab doctor", "5.11"},
		"overlay not loaded": {func(p *paper) {
			asRoot(p)
			p.fails[string(Overlay)] = &TrialError{"mount an overlay: no such device", syscall.ENODEV}
		},
			"+netns +netstack +qemu +tap; overlayfs: modprobe overlay", "no such device"},
		"overlay refused": {func(p *paper) { asRoot(p); p.fails[string(Overlay)] = syscall.EINVAL }, "+netns +netstack +qemu +tap; overlayfs: ", "overlayfs can lie over"},
		"KVM closed":      {func(p *paper) { p.fails[kvmPath] = permission(kvmPath) }, `+netns +netstack +qemu -tap; KVM: sudo usermod -aG kvm "$USER"`, "emulated, slowly"},
		"KVM, Intel":      {func(p *paper) { delete(p.modes, kvmPath) }, "+netns +netstack +qemu -tap; KVM: sudo modprobe kvm_intel", "emulated, slowly"},
		"KVM, AMD": {func(p *paper) { delete(p.modes, kvmPath); p.files["/proc/cpuinfo"] = "flags : svm\n" },
			"+netns +netstack +qemu -tap; KVM: sudo modprobe kvm_amd", "emulated, slowly"},
		"a virtual machine": {func(p *paper) { delete(p.modes, kvmPath); p.files["/proc/cpuinfo"] = "flags : fpu\n" },
			"+netns +netstack +qemu -tap; KVM: ", "nested virtualization"},
		"no QEMU":        {func(p *paper) { p.programs = nil }, "+netns +netstack -qemu -tap; QEMU: sudo apt install qemu-system-x86", "no qemu-system-x86_64 in PATH"},
		"no QEMU, arm64": {func(p *paper) { p.programs, p.arch = nil, "arm64" }, "+netns +netstack -qemu -tap; QEMU: sudo apt install qemu-system-arm", "no qemu-system-aarch64"},
		"no QEMU, RHEL": {func(p *paper) {
			asRoot(p)
			p.programs = nil
			p.files["/etc/os-release"] = "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"
		},
			"+netns +netstack -qemu +tap; QEMU: dnf install qemu-system-x86-core", ""},
		"no QEMU, unknown system": {func(p *paper) { p.programs = nil; p.files["/etc/os-release"] = "ID=plan9\n" }, "+netns +netstack -qemu -tap; QEMU: ", "package manager of this system"},
		"RHEL's own name":         {func(p *paper) { p.programs = []string{"/usr/libexec/qemu-kvm"} }, "+netns +netstack +qemu -tap", "/usr/libexec/qemu-kvm"},
		"WSL 2":                   {func(p *paper) { p.files["/proc/sys/kernel/osrelease"] = "5.15.90.1-microsoft-standard-WSL2\n" }, "+netns +netstack +qemu -tap", "a Linux kernel of its own"},
		"WSL 2 without KVM": {func(p *paper) {
			p.files["/proc/sys/kernel/osrelease"] = "5.15.90.1-microsoft-standard-WSL2\n"
			delete(p.modes, kvmPath)
		},
			"+netns +netstack +qemu -tap; KVM: wsl --shutdown", ".wslconfig"},
		"WSL 1": {func(p *paper) {
			p.files["/proc/sys/kernel/osrelease"] = "4.4.0-19041-Microsoft\n"
			p.fails[string(UserNamespace)] = syscall.EINVAL
			delete(p.modes, tunPath)
			p.programs, p.modes[kvmPath] = nil, 0o666
		}, "-netns +netstack -qemu -tap; WSL: wsl --set-version DISTRIBUTION 2; user namespaces: ; TUN device: ; QEMU: sudo apt install qemu-system-x86", "see WSL"},
		"docker": {func(p *paper) {
			p.uid, p.files["/proc/self/status"], p.modes["/.dockerenv"] = 0, dockerCaps, 0
			p.fails[string(UserNamespace)] = syscall.EPERM
			delete(p.modes, tunPath)
			delete(p.modes, kvmPath)
		}, "-netns +netstack +qemu -tap; container: " + dockerRun + "; user namespaces: docker run --device /dev/net/tun --security-opt seccomp=unconfined --security-opt apparmor=unconfined IMAGE; TUN device: " +
			dockerRun + "; KVM: docker run --device /dev/kvm IMAGE", "docker, without CAP_NET_ADMIN, CAP_SYS_ADMIN"},
		"podman, as it should be": {func(p *paper) { asRoot(p); p.modes["/run/.containerenv"] = 0 }, "+netns +netstack +qemu +tap", "podman"},
		"a user in a container": {func(p *paper) { p.modes["/.dockerenv"] = 0; p.fails[kvmPath] = permission(kvmPath) },
			"+netns +netstack +qemu -tap; KVM: chmod 0666 /dev/kvm", ""},
		"lxc": {func(p *paper) {
			p.uid, p.files["/run/systemd/container"] = 0, "lxc\n"
			p.fails[string(UserNamespace)] = syscall.EPERM
			delete(p.modes, tunPath)
			p.fails[kvmPath] = syscall.ENXIO
		}, "-netns +netstack +qemu -tap; container: ; user namespaces: ; TUN device: ; KVM: ", "as the manual of lxc says"},
		"a confined root": {func(p *paper) { p.uid = 0; p.fails[string(UserNamespace)] = syscall.EPERM },
			"-netns +netstack +qemu -tap; root: ; user namespaces: ", "this root is confined"},
		"a user with root's capabilities": {func(p *paper) { p.files["/proc/self/status"] = allCaps }, "+netns +netstack +qemu +tap", "uid 1000, with CAP_NET_ADMIN"},
		"macOS": {func(p *paper) {
			*p = paper{os: "darwin", arch: "arm64", uid: 501, programs: []string{"qemu-system-aarch64"}}
		},
			"-netns +netstack +qemu -tap", "features of Linux"},
		"macOS without QEMU": {func(p *paper) { *p = paper{os: "darwin", arch: "arm64", uid: 501} }, "-netns +netstack -qemu -tap; QEMU: brew install qemu", "nothing here needs root"},
		"socket elsewhere": {func(p *paper) {
			p.place = agent.Placement{Socket: "/run/user/1000/vpclab-0a/agent.sock", Moved: "its path has 130 bytes, and a socket's may have 103"}
		}, "+netns +netstack +qemu -tap", "its socket goes to /run/user/1000/vpclab-0a/agent.sock: its path has 130 bytes"},
		"no place for a socket": {func(p *paper) {
			p.refused = &agent.Error{Message: "no socket can be made", Fix: "use a shorter --data-dir"}
		},
			"+netns +netstack +qemu -tap; data directory: ", "use a shorter --data-dir"},
		"no data directory": {func(p *paper) { p.refused = syscall.EROFS }, "+netns +netstack +qemu -tap; data directory: ", "read-only file system"},
	} {
		t.Run(name, func(t *testing.T) {
			p := debian()
			c.change(p)
			r := Diagnose(p, "/home/a/.local/state/vpclab", all)
			if got := sketch(r); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if text := fmt.Sprintf("%+v", r); !strings.Contains(text, c.found) {
				t.Errorf("%q is nowhere in %s", c.found, text)
			}
			lacks := strings.Count(c.want, ";")
			if lacks == 0 && strings.Contains(c.want, "-") {
				lacks = 1
			}
			if r.Lacking != lacks {
				t.Errorf("%d lacking, want %d", r.Lacking, lacks)
			}
			sane(t, r)
		})
	}
}

// sane is what holds of every report: each lack has a fix, nothing else has a command.
func sane(t *testing.T, r *Report) {
	t.Helper()
	for _, c := range r.Checks {
		if c.Name == "" || c.Found == "" || (c.State == Lacks) && (c.Fix == "" || c.For == "") || c.State == OK && c.Fix+c.Command != "" {
			t.Errorf("%+v", c)
		}
	}
	for _, d := range r.Drivers {
		if d.Why == "" {
			t.Errorf("%+v", d)
		}
	}
}

// TestNothingIsTriedInVain: trials need what came before them.
func TestNothingIsTriedInVain(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *paper)
		want   []Trial
	}{
		"root":               {asRoot, []Trial{UserNamespace, TAP, Overlay}},
		"student":            {func(*paper) {}, []Trial{UserNamespace, UserTAP, UserOverlay}},
		"no user namespaces": {func(p *paper) { p.fails[string(UserNamespace)] = syscall.EPERM }, []Trial{UserNamespace}},
		"no TUN device":      {func(p *paper) { delete(p.modes, tunPath) }, []Trial{UserNamespace, UserOverlay}},
		"macOS":              {func(p *paper) { p.os = "darwin" }, nil},
	} {
		p := debian()
		c.change(p)
		Diagnose(p, "/d", all)
		if !slices.Equal(p.tried, c.want) {
			t.Errorf("%s: tried %q, want %q", name, p.tried, c.want)
		}
	}
}

// TestDriversSpeakForThemselves: the program's own drivers are told, no others, and their word counts.
func TestDriversSpeakForThemselves(t *testing.T) {
	p := debian()
	asRoot(p)
	r := Diagnose(p, "/d", map[string]error{"netns": errors.New("out of order"), "netstack": nil})
	if len(r.Drivers) != 2 || r.Drivers[0] != (Driver{"netns", false, "out of order"}) || !r.Drivers[1].Works {
		t.Errorf("got %+v", r.Drivers)
	}
	if r.Lacking != 1 {
		t.Errorf("%d lacking: a driver that does not work is", r.Lacking)
	}
	own := maps.Clone(all)
	own["netns"] = errors.New("what the checks know better")
	delete(p.modes, tunPath)
	if r := Diagnose(p, "/d", own); r.Drivers[0].Why != "needs the TUN device" {
		t.Errorf("got %+v", r.Drivers[0])
	}
}

// TestHere looks at this machine: whatever it is, the report is whole, and nothing is left behind.
func TestHere(t *testing.T) {
	dir := t.TempDir()
	r := Diagnose(Here, dir, all)
	sane(t, r)
	t.Log(sketch(r))
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left in the data directory: %v", left)
	}
	for _, list := range []string{"/proc/self/mountinfo", "/proc/net/dev"} {
		for line := range strings.Lines(must(os.ReadFile(list))) {
			if strings.Contains(line, "vpclab-doctor") || strings.Contains(line, "vpclab0") {
				t.Errorf("%s has %s", list, line)
			}
		}
	}
}

// must gives a file's text, "" where the system has no such file.
func must(raw []byte, _ error) string { return string(raw) }
