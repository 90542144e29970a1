package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/portcullis-av/portcullis/envoy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// settings are the command line.
type settings struct {
	role, address string
	json, binary  string
	svg, page     string
	repeats       int
	long          time.Duration
	profiles      []envoy.Profile
	sizes         []int64
	concurrencies []int
	uploads       int
}

func parse(args []string, stderr io.Writer) (settings, error) {
	s := settings{
		profiles: envoy.Profiles(),
		sizes:    []int64{0, 1 << 10, 10 << 10, 1 << 20, 100 << 20}, concurrencies: []int{1, 16},
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.json, "json", "", "also write the result to this `file`")
	flags.StringVar(&s.svg, "svg", "", "also draw what an exchange takes longer into this `file`")
	flags.StringVar(&s.page, "page", "", "also write the result as a page of the documentation, this `file`")
	flags.StringVar(&s.binary, "portcullis", "", "measure this `program` instead of building one")
	flags.IntVar(&s.repeats, "repeats", 5, "runs of every cell and variant")
	flags.DurationVar(&s.long, "time", time.Second, "length of one run; at least one exchange for each connection")
	flags.IntVar(&s.uploads, "uploads", 100, "uploads of 10 MiB at once for the memory figure; 0: none")
	list(flags, "profiles", "duplex,buffered,adaptive", &s.profiles, func(v string) (envoy.Profile, error) { return envoy.Profile(v), nil })
	list(flags, "sizes", "body sizes in bytes", &s.sizes, func(v string) (int64, error) { return strconv.ParseInt(v, 10, 64) })
	list(flags, "concurrency", "exchanges at once", &s.concurrencies, strconv.Atoi)
	flags.StringVar(&s.role, "role", "", "used by the program itself")
	flags.StringVar(&s.address, "address", "", "used by the program itself")
	err := flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	return s, err
}

// list adds a flag that is a list with commas.
func list[T any](flags *flag.FlagSet, name, usage string, into *[]T, parse func(string) (T, error)) {
	flags.Func(name, usage+", with commas between", func(text string) error {
		*into = nil
		for item := range strings.SplitSeq(text, ",") {
			v, err := parse(strings.TrimSpace(item))
			if err != nil {
				return err
			}
			*into = append(*into, v)
		}
		return nil
	})
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if s.role != "" {
		serve, ok := roles()[s.role]
		if !ok {
			return fmt.Errorf("unknown role %q", s.role)
		}
		return serve(s.address)
	}
	st, err := newStage(ctx, stderr, s.binary, s.profiles)
	defer st.close()
	if err != nil {
		return err
	}
	r := newReport(s.repeats, s.long)
	r.writeHead(stdout)
	for _, c := range cells(s.profiles, s.sizes, s.concurrencies) {
		rows, err := st.measure(ctx, c, s.repeats, s.long)
		if err != nil {
			return err
		}
		r.Rows = append(r.Rows, rows...)
		for _, one := range rows {
			writeRow(stdout, one)
		}
	}
	if s.uploads > 0 {
		m, err := st.measureMemory(ctx, s.uploads, 10<<20)
		if err != nil {
			return err
		}
		r.Memory = &m
		r.writeMemory(stdout)
	}
	if r.Own, err = st.measureOwn(ctx); err != nil {
		return err
	}
	r.writeOwn(stdout)
	r.Figures = r.figures()
	r.writeFigures(stdout)
	if s.svg != "" {
		err = r.writePlot(s.svg)
	}
	if s.page != "" {
		err = errors.Join(err, r.writePage(s.page, s.svg))
	}
	if s.json != "" {
		err = errors.Join(err, r.writeJSON(s.json))
	}
	return err
}
