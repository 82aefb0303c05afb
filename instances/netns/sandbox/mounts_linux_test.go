package sandbox

import (
	"slices"
	"strings"
	"testing"
)

const desktop = `21 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
22 21 0:20 / /proc rw,nosuid shared:12 - proc proc rw
23 21 0:21 / /sys rw shared:2 - sysfs sysfs rw
24 23 0:6 / /sys/kernel/security rw - securityfs securityfs rw
25 21 0:5 / /dev rw shared:8 - devtmpfs udev rw
26 25 0:22 / /dev/pts rw - devpts devpts rw
27 25 0:23 / /dev/shm rw - tmpfs tmpfs rw
28 21 0:24 / /run rw - tmpfs tmpfs rw
29 28 0:4 net:[4026532001] /run/netns/vpclab-1 rw - nsfs nsfs rw
30 21 0:31 / /tmp rw - tmpfs tmpfs rw
31 21 259:1 / /boot/efi rw master:3 propagate_from:2 - vfat /dev/nvme0n1p1 rw
32 21 0:40 / /home rw - btrfs /dev/nvme0n1p3 rw
33 32 0:41 / /home/ann/My\040Files rw - fuse.sshfs ann@host: rw
34 21 0:42 / /home rw - btrfs again rw
35 21 0:43 / /tmpfiles rw - ext4 x rw
36 21 0:44 / /proc/sys/fs/binfmt_misc rw - autofs x rw
37 21 0:45 / /var/lib/nfs/rpc_pipefs rw - rpc_pipefs x rw
not a line of it
38 21 0:46
`

func TestLayers(t *testing.T) {
	mounts := parseMounts(desktop)
	if len(mounts) != 17 {
		t.Errorf("%d mounts: %v", len(mounts), mounts)
	}
	want := []string{"/", "/boot/efi", "/home", "/home/ann/My Files", "/tmpfiles"}
	if got := layers(mounts); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := layers(nil); !slices.Equal(got, []string{"/"}) {
		t.Errorf("%q", got)
	}
	for dir, want := range map[string]bool{
		"/": true, "/boot": true, "/boot/efi": false, "/home": true, "/hom": false, "/home/ann": true, "/home/ann/My Files": false,
		"/usr": false, "/var": true, "/var/lib/nfs/rpc_pipefs": false, "/tmpfile": false,
	} {
		if got := covered(mounts, dir); got != want {
			t.Errorf("covered(%s) = %v", dir, got)
		}
	}
}

func TestOwn(t *testing.T) {
	for path, want := range map[string]bool{
		"/proc": true, "/proc/1": true, "/dev/shm": true, "/tmp": true, "/run/lock": true, "/sys": true,
		"/": false, "/procs": false, "/tmpfiles": false, "/var/tmp": false, "/home/tmp": false, "/usr": false,
	} {
		if own(path) != want {
			t.Errorf("own(%s) = %v", path, !want)
		}
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		`/a\040b`: "/a b", `/a\134b`: `/a\b`, `/a\011b\012`: "/a\tb\n", `/a`: "/a", `/a\`: `/a\`, `/a\04`: `/a\04`, `/a\999`: `/a\999`, "": "",
	} {
		if got := unescape(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestOverlayOptions(t *testing.T) {
	if got, want := overlayOptions("/", "/u", "/w", false), "lowerdir=/,upperdir=/u,workdir=/w"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := overlayOptions(`/a:b,c\d`, "/u", "/w", true), `lowerdir=/a\:b\,c\\d,upperdir=/u,workdir=/w,userxattr`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWithin(t *testing.T) {
	for _, test := range []struct {
		path, dir, want string
		ok              bool
	}{
		{"/etc", "/", "etc", true}, {"/etc", "/etc", ".", true}, {"/usr/local/bin", "/usr", "local/bin", true},
		{"/etc", "/usr", "", false}, {"/usr", "/usr/local", "", false}, {"/usrlocal", "/usr", "", false}, {"/..a", "/", "..a", true},
	} {
		if got, ok := within(test.path, test.dir); ok != test.ok || ok && got != test.want {
			t.Errorf("%s in %s: %q, %v", test.path, test.dir, got, ok)
		}
	}
}

func FuzzMounts(f *testing.F) {
	f.Add(desktop)
	f.Add(`1 2 3:4 / /\ - `)
	f.Fuzz(func(t *testing.T, text string) {
		mounts := parseMounts(text)
		all := layers(mounts)
		if all[0] != "/" && !strings.HasPrefix("/", all[0]) {
			t.Fatalf("%q", all)
		}
		for _, at := range all[1:] {
			if own(at) {
				t.Fatalf("%q is the sandbox's own", at)
			}
			covered(mounts, at)
		}
	})
}
