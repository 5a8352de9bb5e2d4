package replicas

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
)

// unstreamed lists, as API servers do that cannot stream a list.
type unstreamed struct{ *toolscache.ListWatch }

func (unstreamed) IsWatchListSemanticsUnSupported() bool { return true }

// TestRelist holds client-go to what Progress relies on: all objects of a list go through the transform before the first
// of them reaches a handler. The list is in the order of names, and its versions fall.
func TestRelist(t *testing.T) {
	const objects = 100
	listed := func(of int) *corev1.ConfigMapList {
		list := &corev1.ConfigMapList{ListMeta: metav1.ListMeta{ResourceVersion: "1000"}}
		for i := range of {
			list.Items = append(list.Items, corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: fmt.Sprintf("r%03d", i), ResourceVersion: fmt.Sprint(900 - i),
			}})
		}
		return list
	}
	var lists atomic.Int64
	watches := make(chan *watch.FakeWatcher, 10)
	informer := toolscache.NewSharedInformer(unstreamed{&toolscache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			if lists.Add(1) == 1 {
				return listed(0), nil
			}
			return listed(objects), nil
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
			w := watch.NewFake()
			watches <- w
			return w, nil
		},
	}}, &corev1.ConfigMap{}, 0)

	p := NewProgress(nil)
	if err := informer.SetTransform(func(received any) (any, error) {
		o := received.(*corev1.ConfigMap)
		p.Received(object(o.Name), o.ResourceVersion)
		return received, nil
	}); err != nil {
		t.Fatal(err)
	}
	handled := make(chan Position, objects)
	_, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: func(added any) {
		o := added.(*corev1.ConfigMap)
		p.Applied(object(o.Name), o.ResourceVersion, true)
		position, _ := p.report()
		handled <- position
	}})
	if err != nil {
		t.Fatal(err)
	}
	go informer.RunWithContext(t.Context())

	(<-watches).Error(&metav1.Status{Status: metav1.StatusFailure, Code: http.StatusGone, Reason: metav1.StatusReasonExpired})
	for i := range objects {
		want := "<" + fmt.Sprint(900-objects+1) // the last of the list has the lowest version
		if i == objects-1 {
			want = "900"
		}
		select {
		case position := <-handled:
			if position[""] != want {
				t.Fatalf("after %d of %d objects it reports %v, want %s", i+1, objects, position, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%d of %d objects have come after %d lists", i, objects, lists.Load())
		}
	}
}
