# Flags that every target of ours shares, and the shape of a library: a folder.

add_library(sonogate_flags INTERFACE)
target_include_directories(sonogate_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/backend)
target_compile_options(sonogate_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion $<$<BOOL:${SONOGATE_WERROR}>:-Werror>)
if(SONOGATE_SANITIZE)
    target_compile_options(sonogate_flags INTERFACE -fsanitize=${SONOGATE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(sonogate_flags INTERFACE -fsanitize=${SONOGATE_SANITIZE})
    if(SONOGATE_SANITIZE MATCHES thread AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
        # The doorbell's fences order wake-ups, not data: what TSan judges does not hang on them.
        target_compile_options(sonogate_flags INTERFACE -Wno-tsan)
    endif()
endif()
if(SONOGATE_FUZZ)
    target_compile_options(sonogate_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
target_link_libraries(sonogate_flags INTERFACE Threads::Threads)

# sonogate_library(NAME [ROOT dir] [LINK lib...]): every .cpp in [dir/]NAME; header-only folders become INTERFACE libraries.
function(sonogate_library name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "ROOT" "LINK")
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${arg_ROOT}/${name}/*.cpp)
    if(sources)
        add_library(${name} STATIC ${sources})
        # A room is compiled in one or two pieces: its heavy headers are read once. -DSONOGATE_UNITY=OFF for edit and build.
        set_target_properties(${name} PROPERTIES UNITY_BUILD ${SONOGATE_UNITY} UNITY_BUILD_BATCH_SIZE 12)
        if(SONOGATE_UNITY AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
            # GCC takes a .cpp that is included for a header, whose unnamed namespaces would be a mistake.
            target_compile_options(${name} PRIVATE -Wno-subobject-linkage)
        endif()
        target_link_libraries(${name} PUBLIC ${arg_LINK} PRIVATE sonogate_flags)
        target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/backend)
        if(name MATCHES "^(base|shm)$")
            target_compile_options(${name} PRIVATE -fno-exceptions -fno-rtti)
        endif()
    else()
        add_library(${name} INTERFACE)
        target_link_libraries(${name} INTERFACE ${arg_LINK})
        target_include_directories(${name} INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/backend)
    endif()
endfunction()

# Boost.Interprocess throws; the file that turns its exceptions into results is the exception in shm.
set_source_files_properties(${CMAKE_SOURCE_DIR}/shm/mapping.cpp PROPERTIES COMPILE_OPTIONS "-fexceptions;-frtti")
