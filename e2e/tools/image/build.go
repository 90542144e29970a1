package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const program = "./cmd/portcullis"

// built is the program for one platform.
type built struct {
	os, arch string
	file     string
	info     *buildinfo.BuildInfo
	// made is the time of the commit: a clock would make every image another.
	made  time.Time
	image v1.Image
}

func (o options) goTool(env []string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = o.source, append(os.Environ(), env...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, complaints.Bytes())
	}
	return out, nil
}

// build compiles without anything of this machine in the result: no C library,
// no paths. Whether the commit is in it is Go's own decision (-buildvcs=auto).
func (o options) build(platform, file string) (built, error) {
	goos, arch, ok := strings.Cut(platform, "/")
	if !ok {
		return built{}, errors.New("no platform such as linux/amd64")
	}
	env := []string{"CGO_ENABLED=0", "GOOS=" + goos, "GOARCH=" + arch, "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0", "GOWORK=off"}
	if _, err := o.goTool(env, "build", "-trimpath", "-buildvcs=auto", "-ldflags", "-s -w -buildid=", "-o", file, program); err != nil {
		return built{}, err
	}
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return built{}, err
	}
	b := built{os: goos, arch: arch, file: file, info: info, made: time.Unix(0, 0).UTC()}
	if made, err := time.Parse(time.RFC3339, b.setting("vcs.time")); err == nil {
		b.made = made.UTC()
	}
	return b, nil
}

// setting is one of those that Go writes into a program, or "".
func (b built) setting(key string) string {
	for _, s := range b.info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// module is one that is linked into the program.
type module struct {
	Path, Version, Dir string
	licences           []string // names of files in Dir
}

var licence = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

// linkedModules are those of the program, Go itself and Portcullis among them.
// One without a licence is an error: it could not be handed on.
func (o options) linkedModules() ([]module, error) {
	out, err := o.goTool([]string{"GOFLAGS=", "GOWORK=off"}, "list", "-deps", "-json=Module", program)
	if err != nil {
		return nil, err
	}
	all := []module{{Path: "go.dev", Version: runtime.Version()}}
	root, err := o.goTool(nil, "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	all[0].Dir = strings.TrimSpace(string(root))
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ Module *module }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if m := p.Module; m != nil && !slices.ContainsFunc(all, func(seen module) bool { return seen.Path == m.Path }) {
			all = append(all, *m)
		}
	}
	for i := range all {
		if err := all[i].findLicences(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// findLicences looks into the module's folder.
func (m *module) findLicences() error {
	entries, err := os.ReadDir(m.Dir)
	if err != nil {
		return fmt.Errorf("%s: %w", m.Path, err)
	}
	for _, e := range entries {
		if licence.MatchString(e.Name()) && e.Type().IsRegular() {
			m.licences = append(m.licences, e.Name())
		}
	}
	if len(m.licences) == 0 {
		return fmt.Errorf("%s has no licence in %s", m.Path, filepath.Base(m.Dir))
	}
	return nil
}
