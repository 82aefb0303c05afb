package lab

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	names := []string{"web", "app", "db", "security-groups", "Default"}
	for word, want := range map[string]string{
		"wbe": "web", "wep": "web", "web1": "web", "ap": "", "secrity-group": "security-groups", "default": "Default",
		"nothing": "", "": "", "x": "", "dbs": "db", "DB": "db", "WEB": "web",
	} {
		if got := nearest(word, names); got != want {
			t.Errorf("nearest(%q) = %q; want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "abc", 0}, {"abc", "", 3}, {"abc", "acb", 1}, {"abc", "axc", 1}, {"abc", "abcd", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d; want %d", c.a, c.b, got, c.want)
		}
		if got := distance(c.b, c.a); got != c.want {
			t.Errorf("distance(%q, %q) = %d; want %d", c.b, c.a, got, c.want)
		}
	}
	if distance(strings.Repeat("a", 1e6), "b") < 100 {
		t.Error("a very long word is near")
	}
}

func TestLists(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{list("groups", nil), "there are no groups"},
		{list("groups", []string{"a"}), "the groups are a"},
		{list("groups", []string{"a", "b", "c"}), "the groups are a, b and c"},
		{list("groups", strings.Split("abcdefghijklmno", "")), "the groups are a, b, c, d, e, f, g, h, i, j, k, l and 3 more"},
		{or([]string{"a", "b", "c"}), "a, b or c"},
		{and([]string{"a", "b"}), "a and b"},
		{and(nil), ""},
	} {
		if c.got != c.want {
			t.Errorf("got %q; want %q", c.got, c.want)
		}
	}
}

func TestExcerpt(t *testing.T) {
	s := newSource("x", "a: \tbé\n"+strings.Repeat("x", 100)+"HERE"+strings.Repeat("y", 100)+"\nbell \x07")
	for _, c := range []struct {
		at   span
		want string
	}{
		{span{1, 5, 2}, "1 | a: \tbé\n  |    \t^^"},
		{span{1, 7, 5}, "1 | a: \tbé\n  |    \t  ^"},
		{span{2, 101, 4}, "2 | " + strings.Repeat("x", 59) + "HERE" + strings.Repeat("y", 57) + "\n  | " + strings.Repeat(" ", 59) + "^^^^"},
		{span{3, 1, 1}, "3 | bell \ufffd\n  | ^"},
		{span{9, 1, 1}, ""}, {span{0, 0, 0}, ""}, {span{1, 99, 1}, ""},
	} {
		if got := s.excerpt(c.at); got != c.want {
			t.Errorf("%+v:\n%s\nwant\n%s", c.at, got, c.want)
		}
	}
}
