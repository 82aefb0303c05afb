package netstack

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/vpclab/vpclab/instances"
)

const pingUsage = "usage: ping [-46nq] [-c count] [-i seconds] [-s bytes] [-W seconds] [-w seconds] [-I address] destination"

type pinger struct {
	sh       *shell
	name     string
	src, dst netip.Addr
	count    int // 0: until told to stop
	interval time.Duration
	wait     time.Duration // for each reply
	payload  int
	quiet    bool

	mu             sync.Mutex
	sent, received int
	errs           int
	rtts           []time.Duration
}

// ping is ping(8) of iputils. It exits 0 if a reply came, 1 if none did, 2 on any other trouble.
func ping(ctx context.Context, sh *shell, args []string) int {
	p, deadline, err := newPinger(ctx, sh, args)
	if err != nil {
		sh.errorf("%v", err)
		return 2
	}
	if deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, deadline)
		defer cancel()
	}
	ipHeader := 20
	if p.dst.Is6() {
		ipHeader = 40
	}
	fmt.Fprintf(sh.stdout, "PING %s (%s) %d(%d) bytes of data.\n", p.name, p.dst, p.payload, p.payload+8+ipHeader)
	start := time.Now()
	err = p.run(ctx)
	p.summary(time.Since(start))
	switch {
	case err != nil:
		sh.errorf("%v", err)
		return 2
	case p.received == 0:
		return 1
	}
	return 0
}

func newPinger(ctx context.Context, sh *shell, args []string) (*pinger, time.Duration, error) {
	o, err := parse(args, "cisWwI", "46nq", nil)
	if err != nil || len(o.operands) != 1 {
		return nil, 0, errors.Join(err, errors.New(pingUsage))
	}
	p := &pinger{sh: sh, name: o.operands[0], quiet: o.has("q")}
	var deadline time.Duration
	err = errors.Join(
		number(o, "c", 0, 1, math.MaxInt32, &p.count), number(o, "s", 56, 0, 65000, &p.payload),
		seconds(o, "i", time.Second, &p.interval), seconds(o, "W", 10*time.Second, &p.wait), seconds(o, "w", 0, &deadline))
	if err != nil {
		return nil, 0, err
	}
	if src := o.get("I", ""); src != "" {
		if p.src, err = netip.ParseAddr(src); err != nil {
			return nil, 0, fmt.Errorf("-I %s: want an address of this instance", src)
		}
	}
	addrs, err := sh.lookup(ctx, p.name, o)
	if err != nil {
		return nil, 0, err
	}
	p.dst = addrs[0]
	return p, deadline, nil
}

// number reads a flag's value into v; least and most bound it.
func number(o options, flag string, def, least, most int, v *int) error {
	*v = def
	if !o.has(flag) {
		return nil
	}
	n, err := strconv.Atoi(o.get(flag, ""))
	if err != nil || n < least || n > most {
		return fmt.Errorf("-%s %s: want a number from %d to %d", flag, o.get(flag, ""), least, most)
	}
	*v = n
	return nil
}

// seconds reads a flag's value, which may have a fraction, into v.
func seconds(o options, flag string, def time.Duration, v *time.Duration) error {
	*v = def
	if !o.has(flag) {
		return nil
	}
	s, err := strconv.ParseFloat(o.get(flag, ""), 64)
	if err != nil || !(s > 0) || s > 1e6 {
		return fmt.Errorf("-%s %s: want seconds, more than 0", flag, o.get(flag, ""))
	}
	*v = time.Duration(s * float64(time.Second))
	return nil
}

// run sends requests at the interval, whether replies come or not, and waits for those under way.
func (p *pinger) run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	id := uint16(rand.Uint32())
	var wg sync.WaitGroup
	for seq := 1; p.count == 0 || seq <= p.count; seq++ {
		p.mu.Lock()
		p.sent++
		p.mu.Unlock()
		wg.Go(func() {
			if err := p.one(ctx, id, uint16(seq)); err != nil {
				stop(err)
			}
		})
		if seq == p.count {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(p.interval):
			continue
		}
		break
	}
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil && cause != ctx.Err() {
		return cause
	}
	return nil
}

// one sends one request. Only what makes further requests pointless is returned.
func (p *pinger) one(ctx context.Context, id, seq uint16) error {
	ctx, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	reply, err := p.sh.net.Ping(ctx, p.src, p.dst, id, seq, p.payload)
	p.mu.Lock()
	defer p.mu.Unlock()
	var icmp *instances.ICMPError
	switch {
	case err == nil:
		p.received++
		p.rtts = append(p.rtts, reply.RTT)
		p.print("%d bytes from %s: icmp_seq=%d ttl=%d time=%s ms\n", reply.Size, p.label(reply.From), seq, reply.TTL, millis(reply.RTT))
	case errors.As(err, &icmp):
		p.errs++
		p.print("From %s icmp_seq=%d %s\n", icmp.From, seq, icmp.Text())
	case instances.ReasonOf(err) == instances.Unreachable:
		p.errs++
		p.print("From %s icmp_seq=%d %v\n", p.name, seq, err)
	case ctx.Err() == nil:
		return err
	}
	return nil
}

func (p *pinger) print(format string, args ...any) {
	if !p.quiet {
		fmt.Fprintf(p.sh.stdout, format, args...)
	}
}

func (p *pinger) label(from netip.Addr) string {
	if from == p.dst && p.name != p.dst.String() {
		return fmt.Sprintf("%s (%s)", p.name, from)
	}
	return from.String()
}

// millis prints a time with three significant digits, as ping does.
func millis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms < 1:
		return strconv.FormatFloat(ms, 'f', 3, 64)
	case ms < 10:
		return strconv.FormatFloat(ms, 'f', 2, 64)
	case ms < 100:
		return strconv.FormatFloat(ms, 'f', 1, 64)
	}
	return strconv.FormatFloat(ms, 'f', 0, 64)
}

func (p *pinger) summary(elapsed time.Duration) {
	fmt.Fprintf(p.sh.stdout, "\n--- %s ping statistics ---\n", p.name)
	errs := ""
	if p.errs > 0 {
		errs = fmt.Sprintf("+%d errors, ", p.errs)
	}
	loss := 0.0
	if p.sent > 0 {
		loss = 100 * float64(p.sent-p.received) / float64(p.sent)
	}
	fmt.Fprintf(p.sh.stdout, "%d packets transmitted, %d received, %s%s%% packet loss, time %dms\n",
		p.sent, p.received, errs, strconv.FormatFloat(loss, 'g', 6, 64), elapsed.Milliseconds())
	if len(p.rtts) == 0 {
		return
	}
	least, most, sum, squares := math.Inf(1), 0.0, 0.0, 0.0
	for _, d := range p.rtts {
		ms := float64(d) / float64(time.Millisecond)
		least, most, sum, squares = min(least, ms), max(most, ms), sum+ms, squares+ms*ms
	}
	n := float64(len(p.rtts))
	avg := sum / n
	fmt.Fprintf(p.sh.stdout, "rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", least, avg, most, math.Sqrt(max(0, squares/n-avg*avg)))
}
