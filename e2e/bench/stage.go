package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// Names of what stands in a row of the result.
const (
	variantNone = "no filter"
	variantNull = "null processor"
	variantBare = "clamd alone"
	engineSkip  = "out of scope"
	engineHit   = "cache hit"
)

// spoolMemory is the default budget, written out.
const spoolMemory = 256 << 20

// stage is everything that runs.
type stage struct {
	dir     string
	log     io.Writer
	stops   []func()
	targets map[string]map[envoy.Profile]target // by variant
	engines []string                            // variants that are Portcullis
	doors   map[string]string                   // by variant: where the processor listens
	bare    *direct                             // nil without clamd
}

func (s *stage) close() {
	for i := range s.stops {
		s.stops[len(s.stops)-1-i]()
	}
}

// newStage starts everything; the caller closes it, also after an error.
func newStage(ctx context.Context, log io.Writer, portcullis string, profiles []envoy.Profile) (*stage, error) {
	s := &stage{log: log, targets: map[string]map[envoy.Profile]target{}, doors: map[string]string{}}
	var err error
	if s.dir, err = os.MkdirTemp("", "portcullis-bench-"); err != nil {
		return s, err
	}
	s.stops = append(s.stops, func() { _ = os.RemoveAll(s.dir) }) // the system's own folder for such things
	envoyPath, err := rig.FindEnvoy(ctx)
	if err != nil {
		return s, err
	}
	_, origin, err := s.self("origin")
	if err != nil {
		return s, err
	}
	null, nullAddress, err := s.self("null")
	if err != nil {
		return s, err
	}
	pc, err := s.portcullis(ctx, portcullis)
	if err != nil {
		return s, err
	}
	for _, profile := range profiles {
		for _, front := range []struct {
			name, processor string
			process         *rig.Process
			variants        []string
		}{
			{variantNone, "", nil, []string{variantNone}},
			{variantNull, nullAddress, null, []string{variantNull}},
			{"portcullis", pc.ExtProc, pc.Process, s.engines},
		} {
			process, address, err := s.envoy(envoyPath, front.name, profile, origin, front.processor)
			if err != nil {
				return s, err
			}
			for _, v := range front.variants {
				if s.targets[v] == nil {
					s.targets[v] = map[envoy.Profile]target{}
				}
				s.targets[v][profile] = target{
					address: address, prefix: "/" + slug(v), processor: front.process, envoy: process, same: v == engineHit,
				}
				s.doors[v] = front.processor
			}
		}
	}
	return s, nil
}

// self starts this program again in a role and waits until its port answers.
func (s *stage) self(role string) (*rig.Process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	address, err := rig.FreeAddress()
	if err != nil {
		return nil, "", err
	}
	p, err := rig.Spawn(s.dir, role, self, "-role", role, "-address", address)
	if err != nil {
		return nil, "", err
	}
	s.stops = append(s.stops, p.Kill)
	return p, address, p.AwaitPort(address)
}

func (s *stage) portcullis(ctx context.Context, binary string) (*rig.Portcullis, error) {
	if binary == "" {
		fmt.Fprintln(s.log, "bench: building portcullis")
		var err error
		if binary, err = rig.BuildPortcullis(ctx, s.dir, false); err != nil {
			return nil, err
		}
	}
	s.engines = []string{engineSkip, "builtin"}
	config := `engines:
  - {name: builtin, builtin: {}}
%s
policies:
  - {name: default, engines: [builtin]}
  - {name: skip, engines: [builtin], request: skip, response: skip}
%s
rules:
  - {when: 'request.path.startsWith("/out-of-scope")', policy: skip}
%s
`
	engine, policy, rule := "", "", ""
	clamd, err := s.clamd()
	switch {
	case err == nil:
		s.engines = append(s.engines, "clamd", engineHit)
		s.bare = &direct{socket: clamd.Address}
		engine = fmt.Sprintf(`  - {name: clamav, clamd: {addresses: [%q]}}`, clamd.Address)
		policy = `  - {name: clamav, engines: [clamav]}`
		rule = `  - {when: 'request.path.startsWith("/clamd") || request.path.startsWith("/cache-hit")', policy: clamav}`
	case errors.Is(err, rig.ErrNoClamd):
		fmt.Fprintf(s.log, "bench: %v; its rows are left out\n", err)
	default:
		return nil, err
	}
	pc, err := rig.StartPortcullis(rig.PortcullisOptions{
		Binary: binary, Dir: s.dir, Config: fmt.Sprintf(config, engine, policy, rule) +
			fmt.Sprintf("spool: {memory_bytes: %d}\nlog: {level: warn}\n", spoolMemory),
	})
	if err == nil {
		s.stops = append(s.stops, pc.Kill)
	}
	return pc, err
}

func (s *stage) clamd() (*rig.Clamd, error) {
	path, err := rig.FindClamd()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir, "clamd")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	c, err := rig.StartClamd(path, dir, payload.EICAR(), 10)
	if err == nil {
		s.stops = append(s.stops, c.Kill)
	}
	return c, err
}

// envoy starts an Envoy and returns it and the address of its listener. Without a
// processor it is the same Envoy with the filter taken out.
func (s *stage) envoy(binary, name string, profile envoy.Profile, origin, processor string) (*rig.Process, string, error) {
	o := envoy.Options{
		Profile: profile, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", Upstream: origin, Processor: processor,
		MaxBodyBytes: 16 << 20, UploadTimeout: time.Minute,
	}
	config, err := envoy.StaticYAML(o)
	if processor == "" && err == nil {
		config, err = withoutFilter(o)
	}
	if err != nil {
		return nil, "", err
	}
	e, err := rig.StartEnvoy(rig.EnvoyOptions{
		Binary: binary, Dir: s.dir, Name: "envoy-" + slug(name) + "-" + string(profile), Config: config, Concurrency: 2,
	})
	if err != nil {
		return nil, "", err
	}
	s.stops = append(s.stops, e.Kill)
	address, err := e.Address()
	return e.Process, address, err
}

func withoutFilter(o envoy.Options) ([]byte, error) {
	b, err := envoy.Static(o)
	if err != nil {
		return nil, err
	}
	for _, filter := range b.GetStaticResources().GetListeners()[0].GetFilterChains()[0].GetFilters() {
		var manager hcmv3.HttpConnectionManager
		if err := filter.GetTypedConfig().UnmarshalTo(&manager); err != nil {
			return nil, err
		}
		filters := manager.GetHttpFilters()
		manager.HttpFilters = filters[len(filters)-1:] // the router
		if err := filter.GetTypedConfig().MarshalFrom(&manager); err != nil {
			return nil, err
		}
	}
	return protojson.Marshal(b) // JSON is YAML too
}
