package flowlogs

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// FileName is what the name of a published file says.
type FileName struct {
	Account, Region, FlowLogID string
	Time                       time.Time // UTC; the first second of its five minutes
	Hash                       string
}

var namePattern = regexp.MustCompile(`^([0-9]{11,12})_vpcflowlogs_([a-z0-9-]+)_(fl-[0-9a-f]+)_([0-9]{8}T[0-9]{4}Z)_([0-9a-f]{8})\.log\.gz$`)

// ParseFileName reads the last part of a path.
func ParseFileName(name string) (FileName, bool) {
	m := namePattern.FindStringSubmatch(name)
	if m == nil {
		return FileName{}, false
	}
	at, err := time.Parse(nameTime, m[4])
	if err != nil {
		return FileName{}, false
	}
	return FileName{Account: m[1], Region: m[2], FlowLogID: m[3], Time: at, Hash: m[5]}, true
}

// File is a published file.
type File struct {
	FileName
	Path   string // as os.Open takes it
	Bucket string
	Key    string // the object's key in the bucket
	Size   int64
}

// List finds the published files below the folder of the buckets, by time, then by path.
// A folder that is not there has none.
func List(dir string) ([]File, error) {
	var found []File
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil // also one removed while it was walked
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == partialDir:
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		name, ok := ParseFileName(entry.Name())
		info, infoErr := entry.Info()
		rel, relErr := filepath.Rel(dir, path)
		if !ok || infoErr != nil || relErr != nil {
			return nil
		}
		bucket, key, _ := strings.Cut(filepath.ToSlash(rel), "/")
		found = append(found, File{FileName: name, Path: path, Bucket: bucket, Key: key, Size: info.Size()})
		return nil
	})
	slices.SortFunc(found, func(x, y File) int {
		return cmp.Or(x.Time.Compare(y.Time), cmp.Compare(x.Path, y.Path))
	})
	return found, err
}
