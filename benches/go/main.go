// The benchmark cases in Go, for comparison: main MODE OPERATIONS prints the seconds that took.
//
// One processor is used, as by all other peers. The mode "blocked" prints bytes instead: of
// resident memory and of page tables, and the seconds until all were blocked and until all ended.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	batch = 100 // goroutines created before any of them runs
	depth = 100 // levels of calls, each in a goroutine of its own
)

func schedule(goroutines, operations int) float64 {
	var started, ended sync.WaitGroup
	begin := make(chan struct{})
	for i := 0; i < goroutines; i++ {
		started.Add(1)
		ended.Add(1)
		go func() {
			defer ended.Done()
			started.Done()
			<-begin
			for n := operations / goroutines; n > 0; n-- {
				runtime.Gosched()
			}
		}()
	}
	started.Wait()
	start := time.Now()
	close(begin)
	ended.Wait()
	return time.Since(start).Seconds()
}

func message(operations int) float64 {
	channel := make(chan any)
	start := time.Now()
	go func() {
		for n := operations; n > 0; n-- {
			channel <- nil
		}
	}()
	for n := operations; n > 0; n-- {
		<-channel
	}
	return time.Since(start).Seconds()
}

func loop(operations int) float64 {
	channel := make(chan any)
	start := time.Now()
	go func() {
		for n := operations; n > 0; n-- {
			channel <- nil
		}
		close(channel)
	}()
	for range channel {
	}
	return time.Since(start).Seconds()
}

func create(operations int) float64 {
	var ended sync.WaitGroup
	start := time.Now()
	for n := operations / batch; n > 0; n-- {
		ended.Add(batch)
		for i := 0; i < batch; i++ {
			go func() { ended.Done() }()
		}
		ended.Wait()
	}
	return time.Since(start).Seconds()
}

func call(function func(int) int, argument int) int {
	result := make(chan int)
	go func() { result <- function(argument) }()
	return <-result
}

func descend(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + call(descend, n-1)
}

func calls(operations int) float64 {
	start := time.Now()
	for n := operations / depth; n > 0; n-- {
		call(descend, depth-1)
	}
	return time.Since(start).Seconds()
}

//go:noinline
func outer(wake chan struct{}) { inner(wake) }

//go:noinline
func inner(wake chan struct{}) { <-wake }

func blocked(goroutines int) {
	var started, ended sync.WaitGroup
	wake := make(chan struct{})
	started.Add(goroutines)
	ended.Add(goroutines)
	residentBefore, tablesBefore := memory()
	start := time.Now()
	for i := 0; i < goroutines; i++ {
		go func() {
			started.Done()
			outer(wake)
			ended.Done()
		}()
	}
	started.Wait()
	runtime.Gosched() // goroutines that have started continue until they block
	created := time.Since(start).Seconds()
	resident, tables := memory()

	start = time.Now()
	for i := 0; i < goroutines; i++ {
		wake <- struct{}{}
	}
	ended.Wait()
	fmt.Println(resident-residentBefore, tables-tablesBefore, created, time.Since(start).Seconds())
}

// memory returns the bytes of resident memory and of page tables of this process.
func memory() (resident, tables int) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	for _, line := range strings.Split(string(status), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kilobytes, _ := strconv.Atoi(fields[1])
		switch fields[0] {
		case "VmRSS:":
			resident = kilobytes * 1024
		case "VmPTE:":
			tables = kilobytes * 1024
		}
	}
	return
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: main MODE OPERATIONS")
		os.Exit(2)
	}
	runtime.GOMAXPROCS(1)
	operations, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	switch os.Args[1] {
	case "schedule2":
		fmt.Println(schedule(2, operations))
	case "schedule1000":
		fmt.Println(schedule(1000, operations))
	case "channel":
		fmt.Println(message(operations))
	case "for":
		fmt.Println(loop(operations))
	case "create":
		fmt.Println(create(operations))
	case "call":
		fmt.Println(calls(operations))
	case "blocked":
		blocked(operations)
	default:
		fmt.Fprintln(os.Stderr, "unknown mode", os.Args[1])
		os.Exit(2)
	}
}
