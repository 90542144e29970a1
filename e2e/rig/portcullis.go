package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const module = "github.com/portcullis-av/portcullis"

// BuildPortcullis builds the program into dir and returns its path. It must be
// called from inside the module.
func BuildPortcullis(ctx context.Context, dir string, race bool) (string, error) {
	binary := filepath.Join(dir, "portcullis")
	args := []string{"build", "-o", binary}
	if race {
		args = append(args, "-race")
	}
	out, err := exec.CommandContext(ctx, "go", append(args, module+"/cmd/portcullis")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
}

// PortcullisOptions say how to start the program.
type PortcullisOptions struct {
	Binary string // path, from [BuildPortcullis]
	Dir    string // an existing private folder for its files
	Name   string // of its files, for two of them in one folder; "portcullis" if empty
	// Config is the configuration in YAML without the section listen, which is
	// added here with free ports, or with ExtProc and Admin.
	Config         string
	ExtProc, Admin string // host:port; free ports if empty
	// Unready starts it without waiting for /readyz.
	Unready bool
	// TLS is the value of listen.tls, if any.
	TLS string
}

// Portcullis is a running `portcullis serve`.
type Portcullis struct {
	*Process
	ExtProc, Admin string // host:port
	ConfigFile     string // its path
	tls            string
}

// Text is a whole configuration for this process out of one without the section
// listen.
func (p *Portcullis) Text(config string) string {
	tls := ""
	if p.tls != "" {
		tls = ", tls: " + p.tls
	}
	return fmt.Sprintf("listen: {extproc: %q, admin: %q%s}\n", p.ExtProc, p.Admin, tls) + config
}

// StartPortcullis returns once /readyz says yes. The caller ends it with Kill
// or Stop.
func StartPortcullis(o PortcullisOptions) (*Portcullis, error) {
	if o.Name == "" {
		o.Name = "portcullis"
	}
	for _, address := range []*string{&o.ExtProc, &o.Admin} {
		if *address != "" {
			continue
		}
		var err error
		if *address, err = FreeAddress(); err != nil {
			return nil, err
		}
	}
	pc := &Portcullis{ExtProc: o.ExtProc, Admin: o.Admin, ConfigFile: filepath.Join(o.Dir, o.Name+".yaml"), tls: o.TLS}
	if err := os.WriteFile(pc.ConfigFile, []byte(pc.Text(o.Config)), 0o600); err != nil {
		return nil, err
	}
	p, err := Spawn(o.Dir, o.Name, o.Binary, "serve", "--config", pc.ConfigFile)
	if err != nil {
		return nil, err
	}
	pc.Process = p
	err = p.waitUntil(startTimeout, func() error {
		probe := "/readyz"
		if o.Unready {
			probe = "/livez"
		}
		_, err := pc.Get(probe)
		return err
	})
	if err != nil {
		p.Kill()
		return nil, err
	}
	return pc, nil
}

// Get returns what the admin port says at path; a status other than 200 is an
// error.
func (p *Portcullis) Get(path string) (string, error) { return get("http://" + p.Admin + path) }

// Metrics scrapes /metrics.
func (p *Portcullis) Metrics() (Metrics, error) {
	text, err := p.Get("/metrics")
	if err != nil {
		return Metrics{}, err
	}
	return ParseMetrics(text)
}

// Log returns the structured lines printed so far; lines that are no JSON
// object, such as a panic, are left out.
func (p *Portcullis) Log() []map[string]any {
	var lines []map[string]any
	for line := range bytes.Lines(p.Output()) {
		var fields map[string]any
		if json.Unmarshal(line, &fields) == nil {
			lines = append(lines, fields)
		}
	}
	return lines
}

// AwaitLog returns the first structured line that match accepts, waiting for it
// if need be.
func (p *Portcullis) AwaitLog(within time.Duration, match func(map[string]any) bool) (map[string]any, error) {
	var found map[string]any
	err := p.waitUntil(within, func() error {
		for _, line := range p.Log() {
			if match(line) {
				found = line
				return nil
			}
		}
		return fmt.Errorf("no such line among %d", len(p.Log()))
	})
	return found, err
}
