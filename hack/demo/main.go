// Command demo brings up a real kube-apiserver and etcd on this machine, and the operator as its own process over TLS.
// Then it plays a story, each step of which is checked; or with -stay it leaves them to whoever wants to try them.
// `make demo` and `make run` start it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// The exit codes. That of an interruption is what shells expect of SIGINT.
const (
	exitBroken      = 1
	exitInterrupted = 130
)

// storyTimeout bounds the whole story. It takes about half a minute.
const storyTimeout = 5 * time.Minute

func main() {
	stay := flag.Bool("stay", false, "tell no story, and stay until Ctrl-C, to be used with kubectl and curl")
	flag.Parse()
	log.SetLogger(logr.Discard()) // envtest's own; what matters of it is in its errors

	// SIGPIPE comes when the reader of the transcript goes, as `head` does; without it here, it would end the demo and
	// leave the rest running. SIGHUP comes when the terminal is closed.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	code := run(ctx, newTranscript(os.Stdout), *stay)
	stop()
	os.Exit(code)
}

// run does everything and cleans up after it, whatever happens. It returns the exit code.
func run(ctx context.Context, t *transcript, stay bool) int {
	start := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go cancelWhenOrphaned(ctx, cancel)

	t.say("Keyturn on this machine: a real kube-apiserver and etcd, and the operator as its own process over TLS.")
	s, err := setUp(ctx, t)
	if err == nil {
		go cancelWhenDead(s.operator, cancel)
		err = s.perform(ctx, stay, time.Since(start))
		if ctx.Err() != nil {
			err = context.Cause(ctx) // whatever it was that could not go on
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			err = fmt.Errorf("%w\n\n%s", err, tail(s.folder.log()))
		}
		if failure := s.tearDown(); failure != nil {
			err = errors.Join(errNotClean, failure, err)
		}
	}
	took := seconds(time.Since(start))
	switch {
	case err == nil:
		t.say(fmt.Sprintf("\n%d steps held, in %s. The operator, the kube-apiserver, the etcd and their folder are gone.", t.number, took))
		return 0
	case errors.Is(err, context.Canceled) && !errors.Is(err, errNotClean):
		t.say("\nInterrupted. The operator, the kube-apiserver, the etcd and their folder are gone.")
		if stay {
			return 0 // it is how staying ends
		}
		return exitInterrupted
	default:
		t.failed(err.Error())
		return exitBroken
	}
}

// errNotClean says that something of the demo is left on the machine.
var errNotClean = errors.New("the demo could not clean up after itself")

// perform plays the story, or stays.
func (s *stage) perform(ctx context.Context, stay bool, took time.Duration) error {
	s.note("Built and started in " + seconds(took) + ". The operator has the rights of config/rbac/role.yaml and no others.")
	if stay {
		return s.stay(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, storyTimeout, fmt.Errorf("the story took longer than %s", storyTimeout))
	defer cancel()
	s.say("\nA shell that has this can type what follows. Long ids, keys and headers are shortened (…) or left out.")
	s.exports()
	told := &story{stage: s}
	for _, play := range []func(context.Context) error{
		told.issuerBecomesReady,
		told.secretIsMounted,
		told.keysArePublished,
		told.tokenIsSigned,
		told.tokenIsVerified,
		told.tokenIsRefused,
		told.apiServerAsks,
		told.keyRotates,
		told.subjectIsRevoked,
		told.revocationsAreMeasured,
		told.subjectComesBack,
		told.keyIsCompromised,
		told.peopleLogIn,
		told.cookieIsExchanged,
		told.cookieIsStolen,
		told.sessionIsDeleted,
		told.eventsTellIt,
		told.contradictionIsRefused,
	} {
		if err := play(ctx); err != nil {
			return err
		}
	}
	return nil
}

// cancelWhenDead ends the demo when the operator does.
func cancelWhenDead(o *operator, cancel context.CancelCauseFunc) {
	<-o.died
	cancel(errOperatorDied)
}

// orphanPoll is how often the parent is looked at.
const orphanPoll = time.Second

// cancelWhenOrphaned ends the demo when its parent does: `go run` passes SIGINT on, and no other signal.
func cancelWhenOrphaned(ctx context.Context, cancel context.CancelCauseFunc) {
	parent := os.Getppid()
	_ = poll(ctx, orphanPoll, func() (bool, error) { return os.Getppid() != parent, nil })
	cancel(context.Canceled)
}
