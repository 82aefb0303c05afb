//go:build linux

package e2e

import (
	"strings"
	"testing"
)

// TestRootlessExamples: an ordinary user gets TAPs and kernel stacks.
func TestRootlessExamples(t *testing.T) {
	for _, name := range examples(t) {
		t.Run(name, func(t *testing.T) {
			h := rootless(t, allAllowed)
			r := h.run("test", "examples/"+name+"/lab.yaml", "--driver", "netns")
			if r.code != 0 || !strings.Contains(r.out, " passed in ") || !strings.Contains(r.err, "use driver netns: helper") {
				t.Errorf("%v", r)
			}
		})
	}
}

// TestRootlessRefused: what a machine refuses is named, and netstack does instead.
func TestRootlessRefused(t *testing.T) {
	for refused, words := range map[string][]string{
		noTUN:         {"/dev/net/tun is closed to this user", "chmod 0666 /dev/net/tun"},
		missingTUN:    {"there is no TUN device (/dev/net/tun)", "modprobe tun"},
		noNamespaces:  {"user namespaces are switched off (user.max_user_namespaces is 0)", "sysctl user.max_user_namespaces"},
		noMountedProc: {"mount a /proc: operation not permitted", "systempaths=unconfined"},
	} {
		t.Run(refused, func(t *testing.T) {
			for _, name := range examples(t) {
				t.Run(name, func(t *testing.T) {
					h := rootless(t, refused)
					r := h.run("test", "examples/"+name+"/lab.yaml")
					if r.code != 0 || !strings.Contains(r.out, " passed in ") || !strings.Contains(r.err, "use driver netstack (") {
						t.Errorf("%v", r)
					}
					for _, w := range words {
						if !strings.Contains(r.err, w) {
							t.Errorf("no word of %q\n%v", w, r)
						}
					}
				})
			}
			h := rootless(t, refused)
			h.fails(1, words[0], "test", three, "--driver", "netns")
			h.fails(1, words[0], "up", h.open(strings.Replace(quietLab, "listen: [80]", "listen: [80], run: 'true'", 1)))
		})
	}
}
