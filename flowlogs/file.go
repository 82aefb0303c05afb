package flowlogs

import (
	"hash"
	"hash/crc32"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
)

// file is a gzip text file under way.
type file struct {
	path    string
	slot    int64 // the first second of the five minutes it is for
	records int

	f       *os.File
	gz      *gzip.Writer
	sum     hash.Hash32 // of the text
	written int64       // bytes on disk
	pending int64       // bytes of text since the compressor was last flushed
}

// flushEvery bounds the text that is not on disk, and so how far a file stays below its limit.
const flushEvery = 256 << 10

func createFile(path string, slot int64, header string) (*file, error) {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	f := &file{path: path, slot: slot, f: out, sum: crc32.NewIEEE()}
	f.gz = gzip.NewWriter(counted{out, &f.written})
	if err := f.write([]byte(header), flushEvery); err != nil {
		f.abandon()
		return nil, err
	}
	return f, nil
}

// fits says whether n more bytes of text surely keep the file within limit. Text that does not
// compress grows by 5 bytes in 64 KiB; the end of the stream takes less than 64.
func (f *file) fits(n int, limit int64) bool {
	text := f.pending + int64(n)
	return f.written+text+text>>12+64 <= limit
}

func (f *file) write(text []byte, limit int64) error {
	f.sum.Write(text) // never fails
	f.pending += int64(len(text))
	if _, err := f.gz.Write(text); err != nil {
		return err
	}
	if f.pending < min(flushEvery, limit/4) {
		return nil
	}
	f.pending = 0
	return f.gz.Flush()
}

// close completes the file on disk.
func (f *file) close() error {
	if err := f.gz.Close(); err != nil {
		return err
	}
	if err := f.f.Sync(); err != nil {
		return err
	}
	return f.f.Close()
}

// abandon removes the file and gives the number of records lost with it.
func (f *file) abandon() int {
	f.f.Close() // it goes away: whatever error it has does not matter
	os.Remove(f.path)
	return f.records
}

// counted counts the bytes that went through.
type counted struct {
	io.Writer
	n *int64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	*c.n += int64(n)
	return n, err
}
