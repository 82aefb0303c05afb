//go:build linux

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// helperWord as the first argument makes the test binary one of the programs below, for `vpclab exec`.
const helperWord = "e2e-helper"

// helperArgs is the command line of a helper.
func helperArgs(args ...string) []string {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return append([]string{self, helperWord}, args...)
}

// on is the command line that runs a helper on an instance.
func on(instance string, args ...string) []string {
	return append([]string{"exec", instance, "--"}, helperArgs(args...)...)
}

// helper runs one and gives its exit code.
func helper(name string, args []string) int {
	err := fmt.Errorf("there is no helper %s", name)
	switch name {
	case "connect":
		err = connect(os.Stdout, args)
	case "hold":
		err = hold(os.Stdin, os.Stdout, args[0])
	case "echo":
		err = echo(os.Stdout, args[0])
	case "take":
		err = take(os.Stdout, args[0])
	case "give":
		err = give(os.Stdout, args[0], args[1])
	case "sniff":
		err = sniff(os.Stdin, os.Stdout)
	case "sink":
		err = sink(os.Stdin, os.Stdout, args[0], args[1], args[2])
	case "nobody":
		err = nobody(args)
	case "nobody-refused":
		err = nobodyRefused(args)
	case "flood":
		err = flood(os.Stdout, args)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// say prints one line of JSON.
func say(out io.Writer, v any) error { return json.NewEncoder(out).Encode(v) }

// connectTimeout is shorter than the second after which a kernel repeats a SYN: one connect, one packet.
const connectTimeout = 700 * time.Millisecond

// connect opens TCP connections to all addresses at once and prints what came of each: connected, refused or timeout.
func connect(out io.Writer, addrs []string) error {
	came := make(map[string]string, len(addrs))
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, addr := range addrs {
		all.Go(func() {
			word := "connected"
			c, err := net.DialTimeout("tcp", addr, connectTimeout)
			switch {
			case err == nil:
				c.Close()
			case os.IsTimeout(err):
				word = "timeout"
			case strings.Contains(err.Error(), "refused"):
				word = "refused"
			default:
				word = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			came[addr] = word
		})
	}
	all.Wait()
	return say(out, came)
}

// hold opens a connection to an echo server and passes on each line that comes in, and what comes back.
func hold(in io.Reader, out io.Writer, addr string) error {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Fprintln(out, "open", c.LocalAddr())
	back := bufio.NewReader(c)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := fmt.Fprintln(c, lines.Text()); err != nil {
			return err
		}
		answer, err := back.ReadString('\n')
		if err != nil {
			return err
		}
		fmt.Fprint(out, "back ", answer)
	}
	return nil
}

// echo sends UDP datagrams of several sizes to an echo server and says how many came back as they were.
func echo(out io.Writer, addr string) error {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	sizes := []int{1, 17, 1000, 1472, 8000}
	buf := make([]byte, 1<<16)
	for n, size := range sizes {
		sent := strings.Repeat(string(rune('a'+n)), size)
		c.SetDeadline(time.Now().Add(3 * time.Second))
		if _, err := io.WriteString(c, sent); err != nil {
			return err
		}
		got, err := c.Read(buf)
		if err != nil {
			return fmt.Errorf("%d bytes: %w", size, err)
		}
		if string(buf[:got]) != sent {
			return fmt.Errorf("%d bytes: %d others came back", size, got)
		}
	}
	_, err = fmt.Fprintf(out, "%d of %d came back\n", len(sizes), len(sizes))
	return err
}
