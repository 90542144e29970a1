package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/portcullis-av/portcullis/cmd/portcullis/config"
)

// Exit codes of every command.
const (
	exitOK       = 0
	exitNotClean = 1 // scan: something was not clean; check: something is wrong; health: not ready
	exitError    = 2 // the command itself could not do its work
)

// Process is what a command gets from the process around it.
type Process struct {
	Args   []string // without the program's name
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) string
}

type commandLine struct {
	Serve       serveCommand       `cmd:"" help:"Run the gate: ext_proc for Envoy, ScanService, health and metrics."`
	Scan        scanCommand        `cmd:"" help:"Scan files. Exit 0: all clean, 1: something is not, 2: could not tell."`
	Check       checkCommand       `cmd:"" help:"Check a configuration file, and Envoy's if given, without running anything."`
	EnvoyConfig envoyConfigCommand `cmd:"" help:"Print Envoy configuration that puts the gate into a mesh."`
	Demo        demoCommand        `cmd:"" help:"Start an origin, the gate and a real Envoy, and watch malware being stopped."`
	Probe       probeCommand       `cmd:"" help:"Upload EICAR and a clean text, and see that one is blocked and the other passes."`
	Health      healthCommand      `cmd:"" help:"Ask a running gate whether it is ready. Exit 0: it is."`
	Version     versionCommand     `cmd:"" help:"Print the version."`
	Completion  completionCommand  `cmd:"" help:"Print a shell completion script: bash, zsh or fish."`
}

const description = `Portcullis holds every HTTP body that passes through Envoy, has it scanned for
malware, and only then lets it go on.

Examples:
  portcullis serve                                  a working default on 127.0.0.1:9100
  portcullis serve --config /etc/portcullis.yaml
  portcullis scan report.pdf invoice.zip
  portcullis check --config portcullis.yaml
  portcullis envoy-config static --upstream 127.0.0.1:8080 > envoy.yaml`

// codeError ends a command with an exit code; its text, if any, was printed.
type codeError int

func (e codeError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// exited is what kong's help flag ends with instead of ending the process.
type exited int

// Run runs one command and returns the process's exit code. A cancelled ctx ends
// it in order.
func Run(ctx context.Context, p Process) (code int) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case exited:
			code = int(e)
		default:
			panic(e) // a defect, which must not look like success
		}
	}()
	// The standard library writes lines of its own there, with what a service sent
	// unasked (net/http), which may be our key. Nothing of ours uses it.
	log.SetOutput(io.Discard)
	var cli commandLine
	parser, err := kong.New(&cli,
		kong.Name("portcullis"),
		kong.Description(description),
		kong.Writers(p.Stdout, p.Stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"version": Version()},
	)
	if err != nil {
		panic(err) // a mistake in the struct tags above; every test would see it
	}
	parsed, err := parser.Parse(p.Args)
	if err == nil {
		err = givenAsNothing(parsed)
	}
	if err != nil {
		fmt.Fprintf(p.Stderr, "portcullis: %s\nRun \"portcullis --help\" to see what can be said.\n", printable(err.Error()))
		return exitError
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	parsed.Bind(p, parser.Model)
	return report(p.Stderr, parsed.Run())
}

// givenAsNothing refuses a flag that was given without a value, as --config "$FILE"
// is where FILE is not set: the default in its place is not what was meant.
func givenAsNothing(parsed *kong.Context) error {
	for _, given := range parsed.Path {
		f := given.Flag
		switch {
		case f == nil || !f.Target.IsZero():
		case f.Target.Kind() == reflect.String:
			return fmt.Errorf("--%s is empty: give a value, or leave it out", f.Name)
		case f.HasDefault && f.Default != "0":
			return fmt.Errorf("--%s cannot be %v: leave it out for %s", f.Name, f.Target.Interface(), f.Default)
		}
	}
	return nil
}

// report prints what a command failed with and chooses the exit code.
func report(stderr io.Writer, err error) int {
	var code codeError
	var bad *config.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &bad):
		// The text of the file is checked; its name is not.
		fmt.Fprint(stderr, strings.ReplaceAll(bad.Explain(), bad.File, printable(bad.File)))
		return exitNotClean
	}
	fmt.Fprintf(stderr, "portcullis: %s\n", printableLines(err.Error()))
	return exitError
}

// configFlag is the flag that every command with a configuration has.
type configFlag struct {
	Config string `short:"c" placeholder:"FILE" help:"Configuration file (YAML). Without one, a working default: builtin engine, both legs, fail closed, 127.0.0.1."`
}

func (f configFlag) load() (*config.Config, error) {
	if f.Config == "" {
		return config.Default(), nil
	}
	return config.Load(f.Config, checkRules)
}

// build makes the parts of the configuration, which the caller closes.
func (f configFlag) build() (*parts, error) {
	cfg, err := f.load()
	if err != nil {
		return nil, err
	}
	return build(cfg)
}
