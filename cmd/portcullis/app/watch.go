package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"os"
	"time"
)

// watchInterval is the time between two looks at the configuration's files. A
// change is taken when two looks in a row have seen the same, so that no file is
// taken that somebody is still writing: within 3 s, engines' first probes aside.
const watchInterval = time.Second

// retryLooks is after how many looks a configuration that was refused is tried
// again as it is: what was missing may be there now.
const retryLooks = 5

// sight is what a look at the files has seen. Equal sights are of equal content.
type sight struct {
	config string // digest of the file, or why it cannot be read
	files  string // digest of the digests of those that it names
}

// watcher looks at the configuration's file and at the files that it names. It
// compares content: times and links may be whatever they are.
type watcher struct {
	path  string
	names func() []string // of the files of the configuration in use
	memo  map[string]seenFile

	data    []byte // of the last look; nil when the file could not be read
	digests map[string]string
	err     error
}

// watch takes changes until ctx ends.
func (s *service) watch(ctx context.Context) {
	if s.watched == "" {
		<-ctx.Done()
		return
	}
	w := &watcher{path: s.watched, names: func() []string { return filesOf(s.message()) }, memo: map[string]seenFile{}}
	r := &reloader{service: s, watcher: w}
	defer r.retired.Wait()
	// Nothing is known to be in use: the file may have changed since it was read.
	var inUse, pending sight
	looks := 0
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		force := false
		select {
		case <-ctx.Done():
			return
		case <-s.look:
			force = true
		case <-tick.C:
		}
		now := w.look()
		settled := now == pending || force
		pending = now
		switch {
		case now == inUse && r.said == "":
			if force {
				s.log.Info("the configuration has not changed")
			}
			continue
		case !settled:
			looks = 0
			continue
		case now == r.refused && !force:
			if looks++; looks%retryLooks != 0 {
				continue
			}
		}
		if r.reload(ctx, now) {
			inUse, looks = w.look(), 0
			pending = inUse
			if inUse.config != now.config || !maps.Equal(w.digests, s.parts().files) {
				inUse = sight{} // it changed meanwhile
			}
		}
	}
}

// look reads the files.
func (w *watcher) look() sight {
	w.data, w.err = readConfig(w.path)
	w.digests = digestsOf(w.names(), w.memo)
	var s sight
	if w.err != nil {
		s.config = w.err.Error()
	} else {
		s.config = digestOf(w.data)
	}
	all := ""
	for _, name := range w.names() {
		all += name + "\x00" + w.digests[name] + "\x00"
	}
	s.files = digestOf([]byte(all))
	return s
}

// maxConfigFile is more than the loader takes, which says so.
const maxConfigFile = 2 << 20

func readConfig(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a regular file") // opening a FIFO would wait
	}
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path) //nolint:gosec // the operator's own path
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxConfigFile))
}

// seenFile is what is known of a large file, which is not read at every look.
type seenFile struct {
	info   os.FileInfo
	at     time.Time
	digest string
}

// Files up to readAlways are read at each look. Larger ones, lists of hashes, are
// read when their inode, size or time has changed, or changed a moment ago: such
// times are coarse.
const (
	readAlways = 1 << 20
	coarse     = 2 * time.Second
)

// digestsOf returns the digests of files by their names. One that cannot be read
// has the error in its place. Memo may be nil.
func digestsOf(names []string, memo map[string]seenFile) map[string]string {
	all := make(map[string]string, len(names))
	for _, name := range names {
		all[name] = digestFile(name, memo)
	}
	return all
}

func digestFile(name string, memo map[string]seenFile) string {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New(name + " is not a regular file")
	}
	if err != nil {
		return err.Error()
	}
	before, known := memo[name]
	if known && info.Size() > readAlways && os.SameFile(info, before.info) && info.Size() == before.info.Size() &&
		info.ModTime().Equal(before.info.ModTime()) && before.at.Sub(info.ModTime()) > coarse {
		return before.digest
	}
	f, err := os.Open(name) //nolint:gosec // the operator's own path
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err.Error()
	}
	digest := hex.EncodeToString(sum.Sum(nil))
	if memo != nil {
		memo[name] = seenFile{info: info, at: time.Now(), digest: digest}
	}
	return digest
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
