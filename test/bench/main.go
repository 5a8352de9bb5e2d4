package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // Nothing is left to be stopped.
	}
}

// options are the flags.
type options struct {
	short  bool
	rounds int
	rooms  *regexp.Regexp
	out    string
}

func parse(arguments []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.short, "short", false, "run everything once and small, to see that it works: the figures are worth nothing, and none are written")
	flags.IntVar(&o.rounds, "rounds", 5, "how often to run what is short (1 to 100)")
	rooms := flags.String("rooms", "", "run only the rooms whose name matches this regular expression; the table is then printed and not written")
	flags.StringVar(&o.out, "out", "", "the file to write the page to (default: print the table only)")
	if err := flags.Parse(arguments); err != nil {
		return options{}, err
	}
	var err error
	if o.rooms, err = regexp.Compile(*rooms); err != nil {
		return options{}, fmt.Errorf("-rooms: %w", err)
	}
	switch {
	case flags.NArg() > 0:
		return options{}, fmt.Errorf("there are no arguments beside the flags, but %q was given", flags.Arg(0))
	case o.rounds < 1 || o.rounds > 100:
		return options{}, fmt.Errorf("-rounds=%d: give 1 to 100", o.rounds)
	case o.out != "" && (o.short || *rooms != ""):
		return options{}, errors.New("-out writes the whole page: it goes with neither -short nor -rooms")
	}
	return o, nil
}

// bench runs the rooms and prints the table. A target that is missed is shown and is no error: another machine may have
// other figures. A benchmark that fails, or no longer reports what the table needs, is one.
func bench(ctx context.Context, arguments []string, stdout, stderr io.Writer) error {
	o, err := parse(arguments, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	about, err := thisMachine(ctx)
	if err != nil {
		return err
	}
	measured := figures{}
	ran := map[string]bool{}
	for _, r := range rooms {
		if !o.rooms.MatchString(r.name) {
			continue
		}
		if err := r.run(ctx, o, measured, stderr); err != nil {
			return err
		}
		ran[r.name] = true
	}
	if len(ran) == 0 {
		return fmt.Errorf("-rooms=%s: no room has such a name", o.rooms)
	}
	tables, err := fill(sections, measured, ran)
	if err != nil {
		return err
	}
	if o.short {
		withoutVerdicts(tables)
		_, _ = fmt.Fprintln(stdout, "\nA short run: everything works, and the figures are worth nothing.")
	}
	if err := printed(stdout, tables); err != nil {
		return err
	}
	if o.out == "" {
		return nil
	}
	return writePage(o.out, page{Machine: about, Rounds: o.rounds, Tables: tables})
}
