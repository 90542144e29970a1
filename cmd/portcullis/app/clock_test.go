package app_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// wallClock is what asks or compares the time of day, which somebody may set: an
// instant without its monotonic reading.
var wallClock = regexp.MustCompile(`\.(Unix|UnixMilli|UnixNano|UnixMicro|Round\(0\)|UTC|Local|Format|AppendFormat|Truncate)\(|(time|http)\.(Date|Parse|ParseInLocation|ParseTime|Unix)\(`)

// onTheWall are the places that must, each with its reason: none decides how long
// something lasts.
var onTheWall = map[string]string{
	"cmd/portcullis/app/gauges.go":        "shows when signatures were built",
	"cmd/portcullis/app/reloadmetrics.go": "shows when the configuration was taken",
	"scan/clamd/reply.go":                 "a deadline in the past, to end a write",
	"scan/icap/engine.go":                 "a deadline in the past, to end a write",
	"scan/clamd/version.go":               "reads when signatures were built",
	"scan/cloudmersive/retry.go":          "reads a date of the service, bounded to 10 s",
}

// Nothing expires by a clock that somebody can set: no code compares times of day
// but where it says why, so that all durations come from the monotonic clock that
// time.Now carries and time.Since reads (F-38).
func TestNoWallClockDecides(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..", "..")
	seen := map[string]bool{}
	for _, dir := range []string{"cmd/portcullis/app", "extproc", "scan"} {
		err := filepath.WalkDir(filepath.Join(root, filepath.FromSlash(dir)), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name, _ := filepath.Rel(root, path)
			name = filepath.ToSlash(name)
			if d.IsDir() && strings.HasSuffix(name, "test") || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".pb.go") {
				if d.IsDir() && strings.HasSuffix(name, "test") && name != "scan" {
					return filepath.SkipDir // fakes
				}
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for i, line := range strings.Split(string(text), "\n") {
				code, _, _ := strings.Cut(line, "//")
				if !wallClock.MatchString(code) {
					continue
				}
				if seen[name] = true; onTheWall[name] == "" {
					t.Errorf("%s:%d asks the time of day: %s", name, i+1, strings.TrimSpace(line))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range onTheWall {
		if !seen[name] {
			t.Errorf("%s does not ask the time of day any more", name)
		}
	}
}
