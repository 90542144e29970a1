package app

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// release is the version of the next release; CHANGELOG.md has the same.
const release = "0.1.0"

// Version is the release with the commit it was built from, if known.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return release + "+" + s.Value[:12]
		}
	}
	return release
}

type versionCommand struct{}

// Run prints the version and what it was built with.
func (versionCommand) Run(p Process) error {
	_, err := fmt.Fprintf(p.Stdout, "portcullis %s (%s, %s/%s)\n", Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
