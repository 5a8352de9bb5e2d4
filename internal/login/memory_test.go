package login

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
)

func always(int) bool          { return true }
func never(int) bool           { return false }
func oneByte(int) uint32       { return 1 }
func newNumbers() *memory[int] { return newMemory(1000, oneByte) }

func TestMemoryKeepsAnswersThatAreGood(t *testing.T) {
	m, finds := newNumbers(), 0
	ask := func(question string, good func(int) bool) int {
		answer, err := m.ask(t.Context(), question, good, func(_ context.Context, before int) int {
			finds++
			return before + 1
		})
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	for i, test := range []struct {
		question string
		good     func(int) bool
		want     int
		finds    int
	}{
		{"a", always, 1, 1}, // nothing is known
		{"a", always, 1, 1},
		{"b", always, 1, 2},
		{"a", never, 2, 3}, // with what was known before
		{"a", always, 2, 3},
		{"b", always, 1, 3},
	} {
		if answer := ask(test.question, test.good); answer != test.want || finds != test.finds {
			t.Errorf("%d: question %s: answer %d after %d finds, want %d after %d",
				i, test.question, answer, finds, test.want, test.finds)
		}
	}
}

func TestMemoryFindsOutOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, finds, release := newNumbers(), 0, make(chan struct{})
		var asking sync.WaitGroup
		for range 100 {
			asking.Go(func() {
				answer, err := m.ask(t.Context(), "a", always, func(context.Context, int) int {
					finds++
					<-release
					return 7
				})
				if answer != 7 || err != nil {
					t.Errorf("answer %d, error %v; want 7", answer, err)
				}
			})
		}
		synctest.Wait() // all are waiting for the one
		close(release)
		asking.Wait()
		if finds != 1 {
			t.Errorf("found out %d times, want once", finds)
		}
	})
}

// TestMemoryFindsOutForOthers: whoever asked first may go, and the others still get the answer.
func TestMemoryFindsOutForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, release := newNumbers(), make(chan struct{})
		find := func(ctx context.Context, _ int) int {
			<-release
			if ctx.Err() != nil {
				t.Error("the finding ended with the request of the first")
			}
			return 7
		}
		first, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, err := m.ask(first, "a", always, find)
			left <- err
		}()
		synctest.Wait()
		answered := make(chan int, 1)
		go func() {
			answer, _ := m.ask(t.Context(), "a", always, find)
			answered <- answer
		}()
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("the first, who left: error %v, want ErrUnavailable because of its request", err)
		}
		close(release)
		if answer := <-answered; answer != 7 {
			t.Errorf("the other: answer %d, want 7", answer)
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	m := newMemory(100, oneByte)
	for i := range 10_000 {
		if _, err := m.ask(t.Context(), fmt.Sprint(i), always, func(context.Context, int) int { return i }); err != nil {
			t.Fatal(err)
		}
	}
	m.answers.CleanUp()
	if kept := m.answers.EstimatedSize(); kept > 100 {
		t.Errorf("%d answers are kept, want at most 100", kept)
	}
}
