package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/portcullis-av/portcullis/cmd/portcullis/config"
	"github.com/portcullis-av/portcullis/envoy"
)

type demoCommand struct {
	Envoy   string `placeholder:"FILE" help:"Envoy's binary; otherwise $ENVOY, then PATH, then the one that make installed."`
	Once    bool   `help:"End after the tour: exit 0 only if every step went as promised."`
	Profile string `enum:"duplex,buffered" default:"duplex" help:"How Envoy delivers bodies: duplex or buffered."`
}

// Help is shown by --help.
func (demoCommand) Help() string {
	return `Starts an origin, the gate (embedded engine; clamd too, if it is installed) and a
real Envoy on free ports of 127.0.0.1, sends clean and infected bodies both ways,
and prints what came back. Then it stays up for your own curl, until Ctrl-C.

Examples:
  portcullis demo
  portcullis demo --once --profile buffered --envoy /usr/local/bin/envoy`
}

// Run is the demo from start to end.
func (c demoCommand) Run(ctx context.Context, p Process) error {
	binary, err := findEnvoy(c.Envoy, p.Getenv)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "portcullis-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	d, err := startDemo(ctx, c, binary, dir)
	if err != nil {
		return err
	}
	defer d.stop()
	fmt.Fprintf(p.Stdout, "%s\n\n", d.picture())
	if bad := d.tour(ctx, p.Stdout); bad > 0 {
		fmt.Fprintf(p.Stdout, "\n%d of the steps did not go as promised; Portcullis' log:\n%s", bad, d.gateLog())
		return codeError(exitNotClean)
	}
	if c.Once {
		return nil
	}
	fmt.Fprintf(p.Stdout, "\nTry it yourself; Ctrl-C ends the demo.\n"+
		"  curl -i http://%[1]s/upload -d 'hello'\n"+
		"  curl -i http://%[1]s/download/eicar\n"+
		"  curl http://%[2]s/metrics | grep portcullis_legs_total\n", d.front, d.admin)
	<-ctx.Done()
	return nil
}

// demo is everything that runs while the tour is taken.
type demo struct {
	engines     string
	profile     string
	front       string // Envoy with the gate
	plain       string // the same Envoy without it, to compare
	admin       string // Portcullis' admin port
	logFile     string
	origin      *demoOrigin
	stops       []func()
	serviceDone chan error
}

// stop ends everything, the last started first.
func (d *demo) stop() {
	for i := len(d.stops) - 1; i >= 0; i-- {
		d.stops[i]()
	}
}

func startDemo(ctx context.Context, c demoCommand, binary, dir string) (_ *demo, err error) {
	d := &demo{profile: c.Profile, logFile: filepath.Join(dir, "portcullis.log"), engines: "builtin"}
	defer func() {
		if err != nil {
			d.stop()
		}
	}()
	if err := d.startOrigin(ctx); err != nil {
		return nil, err
	}
	clamd, err := d.startClamd(ctx, dir)
	if err != nil {
		return nil, err
	}
	processor, err := d.startGate(ctx, dir, clamd)
	if err != nil {
		return nil, err
	}
	return d, d.startEnvoy(ctx, binary, dir, processor)
}

// startGate runs the gate in this process, on free ports.
func (d *demo) startGate(ctx context.Context, dir, clamd string) (processor string, err error) {
	text := "listen: {extproc: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n" +
		"drain: {grace: 0s, timeout: 2s}\n" +
		"spool: {disk_dir: \"" + dir + "\"}\n" +
		"engines:\n  - {name: builtin, builtin: {}}\n"
	if clamd != "" {
		d.engines = "builtin, clamav"
		text += "  - {name: clamav, clamd: {addresses: [\"unix:" + clamd + "\"]}}\n"
	}
	text += "policies:\n  - {name: default, engines: [" + d.engines + "], show_threats: true}\n"
	cfg, err := config.Parse("demo", []byte(text), checkRules)
	if err != nil {
		return "", err
	}
	log, err := os.Create(d.logFile)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithCancel(ctx)
	s, err := newService(ctx, cfg, log)
	if err != nil {
		cancel()
		return "", errors.Join(err, log.Close())
	}
	d.serviceDone = make(chan error, 1)
	go func() { d.serviceDone <- s.run(ctx) }()
	d.stops = append(d.stops, func() {
		cancel()
		if err := <-d.serviceDone; err != nil {
			_, _ = fmt.Fprintln(log, err)
		}
		_ = log.Close()
	})
	d.admin = s.adminL.Addr().String()
	return s.extprocL.Addr().String(), waitReady(ctx, "http://"+d.admin+"/readyz", 20*time.Second)
}

func (d *demo) gateLog() string {
	text, err := os.ReadFile(d.logFile)
	if err != nil {
		return err.Error()
	}
	lines := strings.SplitAfter(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-shownLogLines):], "")
}

// shownLogLines is how much of the log is shown when the tour failed.
const shownLogLines = 20

// waitReady asks until the answer is 200.
func waitReady(ctx context.Context, url string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			text, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10))
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("%s: %s", res.Status, text)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not get ready within %s: %w", url, limit, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// freeAddress is a loopback address on which nobody listens right now.
func freeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (d *demo) picture() string {
	return fmt.Sprintf("you ──> Envoy %s ──> origin %s\n"+
		"          │ ext_proc, profile %s\n"+
		"          └──> Portcullis (engines: %s)", d.front, d.origin.address, envoy.Profile(d.profile), d.engines)
}
