// Threads of the library's own that sleep between calls, for where OpenMP's are told to sleep too or are not there.
#pragma once
#include <pthread.h>
#include <unistd.h>
#include <atomic>

namespace chronosplat {

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

// The caller never waits for a thread that has not begun, so a thread without a core delays nobody. Waiting spins only as
// long as waking a thread takes: it bridges the gap between two loops of one render and cannot starve another process.
class Crew {
  public:
    // Calls body(job) in this thread and in up to threads - 1 others; false, without a call, if another caller has the crew.
    bool run(int threads, void* (*body)(void*), void* job) {
        if (pthread_mutex_trylock(&owner)) return false;
        if (process != getpid()) reset();
        for (; started < threads - 1 && start(); started++) {}
        pthread_mutex_lock(&lock);
        this->body = body, this->job = job, places = threads - 1;
        pthread_cond_broadcast(&work);
        pthread_mutex_unlock(&lock);
        body(job);
        pthread_mutex_lock(&lock);
        places = 0;
        pthread_mutex_unlock(&lock);
        for (int i = 0; i < SPIN && active > 0; i++) relax();
        pthread_mutex_lock(&lock);
        while (active > 0) pthread_cond_wait(&done, &lock);
        pthread_mutex_unlock(&lock);
        pthread_mutex_unlock(&owner);
        return true;
    }

  private:
    static constexpr int SPIN = 2000;  // pauses: 30 to 100 microseconds
    pthread_mutex_t owner = PTHREAD_MUTEX_INITIALIZER, lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t work = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
    void* (*body)(void*) = nullptr;
    void* job = nullptr;
    std::atomic<int> places{0}, active{0};  // written under the lock
    int started = 0;
    pid_t process = 0;

    void reset() {  // a forked process has none of the threads, and the lock as another thread left it
        lock = PTHREAD_MUTEX_INITIALIZER, work = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
        places = active = started = 0, process = getpid();
    }
    bool start() {
        pthread_t thread;
        auto entry = [](void* crew) -> void* {
            ((Crew*)crew)->serve();
            return nullptr;
        };
        return pthread_create(&thread, nullptr, entry, this) == 0 && pthread_detach(thread) == 0;
    }
    void serve() {
        for (;;) {
            for (int i = 0; i < SPIN && places <= 0; i++) relax();
            pthread_mutex_lock(&lock);
            while (places <= 0) pthread_cond_wait(&work, &lock);
            places--, active++;
            pthread_mutex_unlock(&lock);
            body(job);
            pthread_mutex_lock(&lock);
            if (--active == 0) pthread_cond_signal(&done);
            pthread_mutex_unlock(&lock);
        }
    }
};

}  // namespace chronosplat
