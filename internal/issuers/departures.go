package issuers

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// departure says when a session that is gone may be forgotten. It counts only as long as the session has the same time:
// one that came back is not searched for here.
type departure struct {
	until time.Time
	name  types.NamespacedName
}

// departures are a heap, with the earliest first, for container/heap.
type departures []departure

func (d departures) Len() int           { return len(d) }
func (d departures) Less(i, j int) bool { return d[i].until.Before(d[j].until) }
func (d departures) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *departures) Push(x any)        { *d = append(*d, x.(departure)) }

func (d *departures) Pop() any {
	last := len(*d) - 1
	popped := (*d)[last]
	(*d)[last] = departure{} // Or the name would be kept.
	*d = (*d)[:last]
	return popped
}
