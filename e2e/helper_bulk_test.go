//go:build linux

package e2e

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// bulk is what one end of a big transfer saw.
type bulk struct {
	Bytes int64  `json:"bytes"`
	CRC   uint32 `json:"crc32c"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const bulkTimeout = 2 * time.Minute

// take waits for one connection, reads it to its end, answers with what it saw, and prints it.
func take(out io.Writer, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Fprintln(out, "listening")
	l.(*net.TCPListener).SetDeadline(time.Now().Add(bulkTimeout))
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(bulkTimeout))
	sum := crc32.New(castagnoli)
	n, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{c}, make([]byte, 1<<20))
	if err != nil {
		return err
	}
	seen := bulk{n, sum.Sum32()}
	if err := say(c, seen); err != nil {
		return err
	}
	return say(out, seen)
}

// give sends so many bytes, no two blocks of them alike, and prints what it sent once the far end has read all.
func give(out io.Writer, addr, count string) error {
	total, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		return err
	}
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(bulkTimeout))
	block := make([]byte, 1<<20)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(block)
	sent := bulk{}
	for sent.Bytes < total {
		part := block[:min(int64(len(block)), total-sent.Bytes)]
		for at := 0; at+8 <= len(part); at += 4096 { // every page differs from that of the block before
			binary.LittleEndian.PutUint64(part[at:], random.Uint64())
		}
		if _, err := c.Write(part); err != nil {
			return fmt.Errorf("after %d bytes: %w", sent.Bytes, err)
		}
		sent.CRC = crc32.Update(sent.CRC, castagnoli, part)
		sent.Bytes += int64(len(part))
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	if _, err := io.ReadAll(c); err != nil {
		return fmt.Errorf("the far end's answer: %w", err)
	}
	return say(out, sent)
}
