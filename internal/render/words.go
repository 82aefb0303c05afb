package render

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/vpc"
)

// Endpoint gives "web-1[10.0.1.5]:5432", and with service "web-1[10.0.1.5]:5432(postgres)". An address that is
// nobody's stands alone.
func Endpoint(e agent.Endpoint, service bool) string {
	s := Named(e.Name, e.Address)
	if e.Port == 0 {
		return s
	}
	if e.Name == "" && e.Address.Is6() {
		s = "[" + s + "]"
	}
	s += ":" + strconv.Itoa(e.Port)
	if service && e.Service != "" {
		s += "(" + e.Service + ")"
	}
	return s
}

// Named gives "web-1[10.0.1.5]" or, with several addresses, "web-1[10.0.1.5,2001:db8::5]".
func Named(name string, addrs ...netip.Addr) string {
	texts := make([]string, 0, len(addrs))
	for _, a := range addrs {
		if a.IsValid() {
			texts = append(texts, a.String())
		}
	}
	list := strings.Join(texts, ",")
	switch {
	case name == "":
		return list
	case list == "":
		return name
	}
	return name + "[" + list + "]"
}

// listen gives "80(http)" for "tcp/80" and "53/udp(dns)" for "udp/53".
func listen(s string) string {
	proto, port, _ := strings.Cut(s, "/")
	n, err := strconv.Atoi(port)
	if err != nil {
		return s
	}
	number := map[string]int{"tcp": 6, "udp": 17}[proto]
	if proto != "tcp" {
		port += "/" + proto
	}
	if name := vpc.ServiceName(number, n); name != "" {
		port += "(" + name + ")"
	}
	return port
}

// Rule gives "app: tcp 8080 from web", "db: no rule" or "reply, tracked".
func Rule(r agent.RuleRef) string {
	switch {
	case r.Tracked:
		return "reply, tracked"
	case r.Group == "":
		return r.Words
	}
	return r.Group + ": " + r.Words
}

// ruleDefault is Rule that says of a rule that AWS gives to every new group that it is one.
func ruleDefault(r agent.RuleRef) string {
	if r.Default && !r.Tracked {
		return Rule(r) + " (default)"
	}
	return Rule(r)
}

// flagNames in the order in which a connection shows them.
var flagNames = []struct {
	bit  uint8
	name string
}{{2, "SYN"}, {16, "ACK"}, {8, "PSH"}, {32, "URG"}, {1, "FIN"}, {4, "RST"}}

// TCPFlags gives the flags of a record as words: 2 is "SYN", 18 "SYN-ACK", 19 "SYN-ACK FIN".
func TCPFlags(flags uint8) string {
	var words []string
	if flags&18 == 18 {
		words = append(words, "SYN-ACK")
		flags &^= 18
	}
	for _, f := range flagNames {
		if flags&f.bit != 0 {
			words = append(words, f.name)
		}
	}
	return strings.Join(words, " ")
}

// Elapsed gives a length of time for people: "0.42 ms", "1.4 s", "3m12s", "2h05m", "4d03h".
func Elapsed(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// size gives a number of bytes for people.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/unit, 0
	for f >= unit && i < 4 {
		f, i = f/unit, i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[i])
}

// count gives "1 test", "2 tests".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// verdict is a cell in the colour of its word.
func verdict(s string) cell {
	c := text(s)
	switch s {
	case agent.Accept, agent.TestOK, agent.Answered, "running":
		c.style = green
	case agent.Reject, agent.TestFail, agent.Rejected, "terminated":
		c.style = red
	case agent.Drop, agent.TestWarn, agent.Dropped, agent.Lost, agent.Refused, "pending", "stopped":
		c.style = yellow
	}
	return c
}

// printable replaces control characters by what Go writes for them, so that a name in a lab file cannot move the
// cursor of who reads it.
func printable(s string) string {
	bad := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if strings.IndexFunc(s, bad) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if bad(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
