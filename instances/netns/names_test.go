package netns

import (
	"strings"
	"testing"
)

func TestNamespaceName(t *testing.T) {
	for id, want := range map[string]string{
		"i-0123456789abcdef0": "vpclab-9abcdef0",
		"i-01234567":          "vpclab-01234567",
	} {
		if got := namespaceName(id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	seen := map[string]string{}
	for _, id := range []string{"web-1", "web-2", "i-xyz", "", "i-0123456789ABCDEF0", "i-123", "../../x"} {
		name := namespaceName(id)
		if len(name) != len("vpclab-")+8 || !strings.HasPrefix(name, "vpclab-") || strings.Contains(name, "/") {
			t.Errorf("%q: %q", id, name)
		}
		if other, ok := seen[name]; ok {
			t.Errorf("%q and %q are both %s", id, other, name)
		}
		seen[name] = id
	}
}

func TestCheckID(t *testing.T) {
	for id, ok := range map[string]bool{"i-1": true, "": false, ".": false, "..": false, "../x": false, "a/b": false, "a\x00": false} {
		if err := checkID(id); (err == nil) != ok {
			t.Errorf("%q: %v", id, err)
		}
	}
}
