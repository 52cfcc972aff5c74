# nginx compiles every source with one set of flags, made for C.

cat << END >> $NGX_MAKEFILE

$NGX_OBJS/addon/ngx_module/%.o: CFLAGS += -std=c++20 -fno-exceptions -fno-rtti -fvisibility-inlines-hidden
$NGX_OBJS/addon/base/%.o: CFLAGS += -std=c++20 -fno-exceptions -fno-rtti
$NGX_OBJS/addon/shm/%.o: CFLAGS += -std=c++20

END
