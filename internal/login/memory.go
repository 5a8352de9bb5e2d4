package login

import (
	"context"
	"fmt"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"
)

// memory keeps answers to questions that are expensive to find out, and finds out each at most once at a time, however
// many ask. An answer is immutable, and knows itself for how long it is good. When the memory is full, what is seldom
// asked for goes first; that costs a question, and changes no answer.
type memory[V any] struct {
	answers *otter.Cache[string, V]
	flights singleflight.Group
}

// newMemory returns a memory of about so many bytes. The weigher says how many an answer takes.
func newMemory[V any](maxBytes uint64, weigher func(V) uint32) *memory[V] {
	return &memory[V]{answers: otter.Must(&otter.Options[string, V]{
		MaximumWeight: maxBytes,
		Weigher:       func(_ string, answer V) uint32 { return weigher(answer) },
	})}
}

// ask returns the answer that is there if it is good, and otherwise what find returns, good or not. find is given the
// answer that was not good, or the zero V. It must end by itself: its context does not end with the question of the one
// who happened to be the first, because others wait for the same answer.
func (m *memory[V]) ask(
	ctx context.Context, question string, good func(V) bool, find func(context.Context, V) V,
) (V, error) {
	if answer, found := m.answers.GetIfPresent(question); found && good(answer) {
		return answer, nil
	}
	// Not in the flight, where it would be that of the first who asked.
	flightCtx := context.WithoutCancel(ctx)
	flight := m.flights.DoChan(question, func() (any, error) {
		before, found := m.answers.GetIfPresent(question)
		if found && good(before) { // the flight before this one has just landed
			return before, nil
		}
		answer := find(flightCtx, before)
		m.answers.Set(question, answer)
		return answer, nil
	})
	select {
	case landed := <-flight:
		return landed.Val.(V), nil
	case <-ctx.Done():
		var none V
		return none, fmt.Errorf("%w: the request ended first: %w", ErrUnavailable, context.Cause(ctx))
	}
}
