package flowlogs

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vpclab/vpclab/vpc"
)

const (
	slotSeconds  = 300        // AWS publishes to S3 every five minutes
	maxFileBytes = 75_000_000 // and starts another file at 75 MB
	partialDir   = ".partial" // below Dir, on the same file system: files not yet published
)

// files writes a subscription's records as AWS lays them out in S3. A record goes to the file of the
// five minutes its end lies in; what comes after that file was published goes to another for the same
// time, as AWS allows.
type files struct {
	dir    string
	layout layout
	format *Format
	max    int64

	open   map[int64]*file // by the first second of the five minutes
	done   []*file         // complete, to be published
	serial int
	line   []byte
}

func (c PublisherConfig) openFiles(fl *vpc.FlowLog, f *Format) (Destination, error) {
	bucket, err := ParseBucket(fl.LogDestination)
	if err != nil {
		return nil, err
	}
	if c.MaxFileBytes <= 0 {
		c.MaxFileBytes = maxFileBytes
	}
	return &files{
		dir:    c.Dir,
		layout: layout{bucket, c.Account, c.Region, fl.ID, fl.HiveCompatible, fl.PerHourPartition},
		format: f,
		max:    c.MaxFileBytes,
		open:   make(map[int64]*file),
		line:   make([]byte, 0, f.MaxLine()+1),
	}, nil
}

// Deliver writes the records. A file that cannot be written is given up with all its records.
func (d *files) Deliver(records []Record) (lost int, err error) {
	var errs []error
	for i := range records {
		n, err := d.write(&records[i])
		lost += n
		if err != nil {
			errs = append(errs, err)
			lost += len(records) - i - 1 // a full disk is tried again with the next batch
			break
		}
	}
	return lost, errors.Join(append(errs, d.publish())...)
}

// write adds a record's line to the file of its time.
func (d *files) write(r *Record) (lost int, err error) {
	slot := floorDiv(r.End, slotSeconds) * slotSeconds
	d.line = append(d.format.Append(d.line[:0], r), '\n')
	f := d.open[slot]
	if f != nil && !f.fits(len(d.line), d.max) {
		delete(d.open, slot)
		if lost, err = d.finish(f); err != nil {
			return lost + 1, err
		}
		f = nil
	}
	if f == nil {
		if f, err = d.create(slot); err != nil {
			return 1, err
		}
		d.open[slot] = f
	}
	f.records++
	if err = f.write(d.line, d.max); err != nil {
		delete(d.open, slot)
		return f.abandon(), err
	}
	return 0, nil
}

func (d *files) create(slot int64) (*file, error) {
	dir := filepath.Join(d.dir, partialDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	d.serial++
	path := filepath.Join(dir, fmt.Sprintf("%s-%d-%d", d.layout.flowLogID, slot, d.serial))
	return createFile(path, slot, d.format.Header()+"\n")
}

// finish completes a file and lines it up for publishing.
func (d *files) finish(f *file) (lost int, err error) {
	if err := f.close(); err != nil {
		return f.abandon(), err
	}
	d.done = append(d.done, f)
	return 0, nil
}

// publish moves the complete files to their places. One that cannot be moved is tried again.
func (d *files) publish() error {
	var errs []error
	d.done = slices.DeleteFunc(d.done, func(f *file) bool {
		err := d.move(f)
		errs = append(errs, err)
		return err == nil
	})
	return errors.Join(errs...)
}

// move gives a file its name. The hash is that of its text; where that name is taken (the same text
// again, after a restart) the next one is.
func (d *files) move(f *file) error {
	at := time.Unix(f.slot, 0).UTC()
	dir := filepath.Join(d.dir, filepath.FromSlash(d.layout.folder(at)))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for hash := f.sum.Sum32(); ; hash++ {
		to := filepath.Join(dir, d.layout.name(at, hash))
		_, err := os.Lstat(to)
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return os.Rename(f.path, to)
	}
}

// Tick publishes the files whose five minutes are over.
func (d *files) Tick(now int64) (lost int, err error) {
	return d.publishBefore(floorDiv(seconds(now), slotSeconds) * slotSeconds)
}

// Close publishes all files. What cannot be published is lost.
func (d *files) Close() (lost int, err error) {
	lost, err = d.publishBefore(1<<63 - 1)
	for _, f := range d.done {
		lost += f.abandon()
	}
	d.done = nil
	return lost, err
}

// publishBefore publishes the files of earlier times, in order.
func (d *files) publishBefore(second int64) (lost int, err error) {
	var errs []error
	for _, slot := range slices.Sorted(maps.Keys(d.open)) {
		if slot >= second {
			break
		}
		n, err := d.finish(d.open[slot])
		lost += n
		errs = append(errs, err)
		delete(d.open, slot)
	}
	return lost, errors.Join(append(errs, d.publish())...)
}
