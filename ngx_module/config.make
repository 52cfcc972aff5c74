# nginx compiles every source with one set of flags, made for C.

case `uname -m` in
    x86_64|amd64) sonogate_avx2=-mavx2 ;;
    *)            sonogate_avx2= ;;
esac

cat << END >> $NGX_MAKEFILE

$NGX_OBJS/addon/ngx_module/%.o: CFLAGS += -std=c++20 -fno-exceptions -fno-rtti -fvisibility=hidden
$NGX_OBJS/addon/base/%.o: CFLAGS += -std=c++20 -fno-exceptions -fno-rtti
$NGX_OBJS/addon/shm/%.o: CFLAGS += -std=c++20
$NGX_OBJS/addon/ngx_module/content_hash_any.o: CFLAGS += -fno-strict-aliasing
$NGX_OBJS/addon/ngx_module/content_hash_avx2.o: CFLAGS += -fno-strict-aliasing $sonogate_avx2

END
